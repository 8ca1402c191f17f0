//! `pictl job`: commands that were detached.

use std::io::Write;

use clap::Subcommand;
use proto::agent::v1::{CancelJobRequest, CommandOutput, GetJobRequest, Job, ListJobsRequest};

use crate::call::Caller;
use crate::exec::sentence;
use crate::exit::Failure;
use crate::output::{Output, json, or_dash, table};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Jobs that a node remembers
    List {
        /// Name of the node
        node: String,
    },
    /// How a job is, or how it ended
    Status {
        /// Name of the node
        node: String,
        /// Name of the job
        job: String,
    },
    /// What a job has printed, when it has ended
    Output {
        /// Name of the node
        node: String,
        /// Name of the job
        job: String,
    },
    /// End a job
    Cancel {
        /// Name of the node
        node: String,
        /// Name of the job
        job: String,
    },
}

pub(crate) async fn run(
    caller: &Caller,
    command: Command,
    output: Output,
    out: &mut dyn Write,
    errors: &mut dyn Write,
) -> Result<String, Failure> {
    let job = match command {
        Command::List { node } => {
            let request = caller.request_to(&node, ListJobsRequest {})?;
            let list = caller.node(&node)?.list_jobs(request).await?.into_inner();
            return match output {
                Output::Json => json(&list),
                Output::Table if list.jobs.is_empty() => {
                    Ok("no jobs; next: pictl exec NODE --detach -- COMMAND".to_owned())
                }
                Output::Table => Ok(table(&["JOB", "STATE", "HOLDER", "COMMAND"], list.jobs.iter().map(row))),
            };
        }
        Command::Status { node, job } => get(caller, &node, job).await?,
        Command::Cancel { node, job } => {
            let request = caller.request_to(&node, CancelJobRequest { job })?;
            caller.node(&node)?.cancel_job(request).await?.into_inner()
        }
        Command::Output { node, job } => {
            let job = get(caller, &node, job).await?;
            let response = job.response.unwrap_or_default();
            print(response.stdout.as_ref(), out)?;
            print(response.stderr.as_ref(), errors)?;
            return Ok(String::new());
        }
    };
    match output {
        Output::Json => json(&job),
        Output::Table => Ok(format!("{} {}", job.job, job.response.as_ref().map(sentence).unwrap_or_default())),
    }
}

async fn get(caller: &Caller, node: &str, job: String) -> Result<Job, Failure> {
    let request = caller.request_to(node, GetJobRequest { job })?;
    Ok(caller.node(node)?.get_job(request).await?.into_inner())
}

fn row(job: &Job) -> Vec<String> {
    let state = job.response.as_ref().map(sentence).unwrap_or_default();
    vec![job.job.clone(), state, or_dash(job.holder.clone()), or_dash(job.program.clone())]
}

fn print(output: Option<&CommandOutput>, to: &mut dyn Write) -> Result<(), Failure> {
    let Some(output) = output else { return Ok(()) };
    to.write_all(&output.head)?;
    if output.truncated {
        let kept = u64::try_from(output.head.len() + output.tail.len()).unwrap_or(u64::MAX);
        writeln!(to, "\n… {} bytes were not kept …", output.total_bytes.saturating_sub(kept))?;
    }
    Ok(to.write_all(&output.tail)?)
}
