//! What a command may not do to its node: outlive its time, its caller or its agent, crowd out others, leave anything behind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use mtls::Expect;
use proto::agent::v1::CommandRequest;
use proto::agent::v1::command_response::Outcome;
use tests::{Cluster, ExecNode, Sorted, eventually, figure, survivors};
use tonic::Code;

use crate::{ANY, PROBE, argv, out, run, script, seconds};

/// F16.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_ignores_sigterm_is_killed_with_all_its_processes() {
    let cluster = Cluster::start().await;
    let node = ExecNode::start(&cluster, PROBE, &format!("{ANY}kill_grace_ms = 1000\n")).await;
    let stubborn = |mark: &str| script(&format!("trap '' TERM; sleep {mark} & sleep {mark}; sleep {mark}"));
    // by its own time
    let began = Instant::now();
    let said = run(&node, CommandRequest { timeout: seconds(1), ..stubborn("861601") }).await;
    assert!(matches!(said.outcome, Some(Outcome::TimedOut(_))), "{said:?}");
    assert!(survivors("861601").is_empty() && began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    figure(format!("own time 1 s, grace 1 s: timed out, none of 3 alive after {:.2?}", began.elapsed()));
    // by the call's deadline, at the node and through the controller
    eventually(async || cluster.pictl(&["node", "show", &node.name]).await.out.contains("ready")).await;
    let bob = cluster.dialer(&cluster.credentials(&cluster.issuer(), "operator/bob", SystemTime::now()));
    let anna = mtls::Context::load(&cluster.admin()).unwrap().dialer().unwrap();
    let controller = cluster.address.to_string();
    let direct = (&bob, node.address.as_str(), Expect::Node(node.name.clone()));
    let proxied = (&anna, controller.as_str(), Expect::Controller);
    let name = Some(node.name.as_str());
    for (way, name, mark) in [(direct, None, "861602"), (proxied, name, "861603")] {
        let deadline = Duration::from_secs(1);
        let method = "/pi.agent.v1.NodeAgent/ExecuteCommand";
        let asked = Instant::now();
        let status = tests::refusal(way, method, (deadline, name), &stubborn(mark)).await;
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
        let answered = asked.elapsed();
        assert!((deadline..deadline * 3).contains(&answered), "{answered:?}");
        eventually(async || survivors(mark).is_empty()).await;
        let way = name.map_or("direct", |_| "through the controller");
        figure(format!(
            "deadline 1 s, {way}: DEADLINE_EXCEEDED after {answered:.2?}, all dead after {:.2?}",
            asked.elapsed()
        ));
    }
    node.stop().await;
}

/// F17.
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_does_not_outlive_its_callers_connection() {
    let cluster = Cluster::start().await;
    let node = ExecNode::start(&cluster, PROBE, &format!("{ANY}kill_grace_ms = 100\n")).await;
    let rounds = tests::size(10, 100);
    let mut gone_after = Vec::new();
    for round in 0..rounds {
        let mark = (861_700_000 + round).to_string();
        let request = script(&format!("setsid -f sh -c 'setsid -f sleep {mark}; sleep {mark}'; sleep {mark}"));
        let mut client = node.client.clone();
        let calling = tokio::spawn(async move { client.execute_command(request).await });
        let deep = format!("sleep {mark} ");
        eventually(async || survivors(&deep).iter().filter(|line| line.starts_with("sleep")).count() == 3).await;
        calling.abort();
        let gone = Instant::now();
        eventually(async || survivors(&mark).is_empty()).await;
        gone_after.push(gone.elapsed());
        assert!(gone.elapsed() < Duration::from_secs(5), "round {round}: {:?}", gone.elapsed());
    }
    figure(format!("{rounds} callers gone, 3 processes each: none left after {}", Sorted::new(gone_after)));
    // what is left when the command itself ends goes too, and is not waited for beyond the grace
    let said = run(&node, script("setsid -f sleep 861799; echo done")).await;
    assert_eq!(out(&said), "done\n");
    eventually(async || survivors("861799").is_empty()).await;
    node.stop().await;
}

/// F18. Without a cgroup it takes a user of its own: only then the kernel counts the command's processes.
#[tokio::test(flavor = "multi_thread")]
async fn a_fork_bomb_is_contained_and_cleaned_up() {
    if !rustix::process::getuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "only root can give a command a user of its own");
        println!("not root: a command cannot have a user of its own here");
        return;
    }
    let cluster = Cluster::start().await;
    let text = "mode = 'any'\nshell = '/bin/sh'\nuser = '64018'\nmaximum_processes = 40\nkill_grace_ms = 200\n";
    let node = ExecNode::start(&cluster, PROBE, text).await;
    let quiet = health(&node, 100).await;
    let bomb = CommandRequest { timeout: seconds(2), ..script("bomb() { bomb | bomb & sleep 861800; }; bomb") };
    let mut client = node.client.clone();
    let exploding = tokio::spawn(async move { client.execute_command(bomb).await });
    let of_bomb = || {
        let all = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.metadata().ok());
        all.filter(|folder| std::os::unix::fs::MetadataExt::uid(folder) == 64018).count()
    };
    let mut most = 0;
    let mut answered = Vec::new();
    while !exploding.is_finished() {
        answered.extend(health(&node, 1).await);
        most = most.max(of_bomb());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let ended = exploding.await.unwrap().unwrap().into_inner();
    let (quiet, answered) = (Sorted::new(quiet), Sorted::new(answered));
    let ratio = answered.quantile(0.99).as_secs_f64() / quiet.quantile(0.99).as_secs_f64();
    figure(format!(
        "at most {most} processes of 40 allowed; health: quiet {quiet}; beside the bomb {answered}; p99 {ratio:.1} times"
    ));
    assert!(most <= 40, "{most} processes");
    // the control: it did go off, until the kernel refused; how many a look finds at once is chance
    let said = String::from_utf8_lossy(&ended.stderr.unwrap().head).to_lowercase();
    assert!(said.contains("fork"), "{most} processes; {said}");
    assert!(answered.quantile(1.0) < Duration::from_secs(2), "{answered}");
    let began = Instant::now();
    eventually(async || survivors("861800").is_empty()).await;
    assert!(began.elapsed() < Duration::from_secs(5), "clean after {:?}", began.elapsed());
    node.stop().await;
}

/// How long each of `count` health checks took.
async fn health(node: &ExecNode, count: usize) -> Vec<Duration> {
    let mut took = Vec::new();
    for _ in 0..count {
        let asked = Instant::now();
        node.client.clone().health_check(()).await.unwrap();
        took.push(asked.elapsed());
    }
    took
}

/// Where the system has cgroup v2 and this is root; elsewhere the test says that it did nothing.
fn own_cgroup() -> Option<std::path::PathBuf> {
    let mounts = std::fs::read_to_string("/proc/mounts").ok()?;
    let line = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"))?;
    let folder = std::path::Path::new(line.split(' ').nth(1)?).join(format!("pi-test-{}", std::process::id()));
    std::fs::create_dir(&folder).ok().map(|()| folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_command_has_a_cgroup_that_goes_with_it() {
    let Some(folder) = own_cgroup() else {
        println!("no cgroup v2 that this user may divide");
        return;
    };
    let cluster = Cluster::start().await;
    let text = format!("{ANY}kill_grace_ms = 100\ncgroup = '{}'\n", folder.display());
    let node = ExecNode::start(&cluster, PROBE, &text).await;
    let said = out(&run(&node, script("cat /proc/self/cgroup; setsid -f sleep 861850")).await);
    assert!(said.lines().any(|line| line.starts_with("0::") && line.contains("/command-")), "{said}");
    eventually(async || survivors("861850").is_empty()).await;
    let groups = || std::fs::read_dir(&folder).unwrap().flatten().filter(|entry| entry.path().is_dir()).count();
    eventually(async || groups() == 0).await;
    node.stop().await;
    std::fs::remove_dir(&folder).unwrap();
}

/// F19 and L8: nothing stays behind, neither a zombie nor a descriptor nor a byte.
#[tokio::test(flavor = "multi_thread")]
async fn many_commands_leave_nothing_behind() {
    let cluster = Cluster::start().await;
    let node = ExecNode::start(&cluster, PROBE, ANY).await;
    // its connection to the controller is there to stay
    eventually(async || cluster.pictl(&["node", "show", &node.name]).await.out.contains("ready")).await;
    run(&node, argv(&["true"])).await;
    let descriptors = || {
        let all = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        all.count()
    };
    eventually(async || tests::running().len() == 2).await; // the pair that waits
    let before = descriptors();
    let (count, began) = (tests::size(1000, 10_000), Instant::now());
    let left = Arc::new(AtomicUsize::new(count));
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (mut client, left) = (node.client.clone(), left.clone());
        workers.spawn(async move {
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                let said =
                    client.execute_command(argv(&["head", "-c", "1024", "/dev/zero"])).await.unwrap().into_inner();
                let stdout = said.stdout.unwrap();
                assert_eq!((stdout.total_bytes, stdout.head.len()), (1024, 1024));
            }
        });
    }
    let mut zombies: BTreeMap<u32, Instant> = BTreeMap::new();
    let mut longest = Duration::ZERO;
    while !workers.is_empty() {
        while let Some(worker) = workers.try_join_next() {
            worker.unwrap();
        }
        let now: Vec<u32> =
            tests::running().into_iter().filter(|(_, state)| *state == 'Z').map(|(pid, _)| pid).collect();
        zombies.retain(|pid, _| now.contains(pid));
        for pid in now {
            let since = zombies.entry(pid).or_insert_with(Instant::now).elapsed();
            longest = longest.max(since);
            assert!(since < Duration::from_secs(1), "{pid} is a zombie for {since:?}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let took = began.elapsed();
    eventually(async || tests::running().len() == 2).await;
    eventually(async || descriptors() <= before).await;
    figure(format!(
        "{count} commands of 1 KiB, 16 at a time, in {took:.1?}: every byte there; longest zombie {longest:.0?}; {before} descriptors \
         before, {} after",
        descriptors()
    ));
    node.stop().await;
}
