//! The process that becomes the command.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::fs::{Gid, Mode, Uid};
use rustix::process::{Resource, Rlimit, Signal};

use super::message::{Ended, Identity, Plan, frame, own_socket, read_frame, receive_descriptors};
use super::program::find;

/// Waits for a plan, and becomes its command. Returns only if that fails, and has told the supervisor why.
pub(super) fn launch() -> io::Result<()> {
    let mut socket = own_socket()?;
    let descriptors = receive_descriptors(&socket)?;
    let Some(plan) = read_frame::<Plan>(&mut socket)?.filter(|_| !descriptors.is_empty()) else {
        return Ok(()); // the supervisor is gone
    };
    let Failed { what, error } = become_command(&plan, descriptors);
    let errno = error.raw_os_error().unwrap_or(0);
    socket.write_all(&frame(&Ended { errno, why: format!("{what}: {error}"), ..Ended::default() }))
}

struct Failed {
    what: String,
    error: io::Error,
}

fn at<E: Into<io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> Failed {
    move |error| Failed { what: what.into(), error: error.into() }
}

fn become_command(plan: &Plan, descriptors: Vec<OwnedFd>) -> Failed {
    let prepared = prepare(plan, &descriptors).and_then(|()| standard_streams(descriptors));
    if let Err(failed) = prepared {
        return failed;
    }
    let name = plan.argv.first().map_or("", String::as_str);
    let path = plan.environment.get("PATH").map_or("", String::as_str);
    let program = match find(name, path) {
        Ok(program) => program,
        Err(error) => return at(name)(error),
    };
    let mut command = Command::new(program);
    command.arg0(name).args(plan.argv.iter().skip(1)).env_clear().envs(&plan.environment);
    at(name)(command.exec())
}

/// The order matters: the cgroup while there are rights for it, the parent's death after the change of user, which
/// would make the kernel forget it.
fn prepare(plan: &Plan, descriptors: &[OwnedFd]) -> Result<(), Failed> {
    rustix::process::setsid().map_err(at("a session of its own"))?;
    if let Some(folder) = &plan.cgroup {
        std::fs::write(format!("{folder}/cgroup.procs"), "0").map_err(at("its cgroup"))?;
    }
    if let (true, Some(terminal)) = (plan.terminal, descriptors.first()) {
        rustix::process::ioctl_tiocsctty(terminal).map_err(at("its terminal"))?;
    }
    niceness(plan.nice).map_err(at("its niceness"))?;
    if let Some(identity) = &plan.identity {
        take_on(identity, descriptors).map_err(at("its user"))?;
    }
    limits(plan).map_err(at("its limits"))?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(at("its end with its supervisor"))?;
    rustix::process::umask(Mode::from_bits_truncate(plan.umask));
    rustix::process::chdir(plan.working_directory.as_str()).map_err(at(plan.working_directory.as_str()))
}

/// The agent may run at a raised priority, see its unit; a command never does.
fn niceness(added: i32) -> rustix::io::Result<()> {
    let own = rustix::process::getpriority_process(None)?;
    match own.max(0) + added {
        wished if wished == own => Ok(()),
        wished => rustix::process::setpriority_process(None, wished),
    }
}

/// These calls concern one thread: this process has one.
fn take_on(identity: &Identity, descriptors: &[OwnedFd]) -> rustix::io::Result<()> {
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    for descriptor in descriptors {
        // so that the command can open /dev/stdout and its terminal
        rustix::fs::fchown(descriptor, Some(uid), Some(gid))?;
    }
    let groups: Vec<Gid> = identity.groups.iter().copied().map(Gid::from_raw).collect();
    rustix::thread::set_thread_groups(&groups)?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)
}

fn limits(plan: &Plan) -> rustix::io::Result<()> {
    let Plan { cpu_seconds, memory_bytes, open_files, file_bytes, processes, .. } = plan;
    for (resource, wished) in [
        (Resource::Core, &Some(0)), // a core file holds what was secret
        (Resource::Cpu, cpu_seconds),
        (Resource::As, memory_bytes),
        (Resource::Nofile, open_files),
        (Resource::Fsize, file_bytes),
        (Resource::Nproc, processes),
    ] {
        let Some(wished) = *wished else { continue };
        let allowed = rustix::process::getrlimit(resource).maximum;
        let limit = Some(allowed.map_or(wished, |allowed| wished.min(allowed)));
        rustix::process::setrlimit(resource, Rlimit { current: limit, maximum: limit })?;
    }
    Ok(())
}

fn standard_streams(descriptors: Vec<OwnedFd>) -> Result<(), Failed> {
    // a terminal is all three
    let stream = |index: usize| descriptors.get(index).or(descriptors.first()).map(AsFd::as_fd);
    let (Some(input), Some(output), Some(error)) = (stream(0), stream(1), stream(2)) else {
        return Err(at("its streams")(io::Error::other("none were passed")));
    };
    rustix::stdio::dup2_stdin(input).map_err(at("standard input"))?;
    rustix::stdio::dup2_stdout(output).map_err(at("standard output"))?;
    rustix::stdio::dup2_stderr(error).map_err(at("standard error"))
}
