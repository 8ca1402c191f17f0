//! Commands on a node: real processes under the agent's supervisor.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod containment;

use std::collections::BTreeMap;

use pictl::Exit;
use proto::agent::v1::command_response::Outcome;
use proto::agent::v1::execute_stream_request::Input;
use proto::agent::v1::execute_stream_response::Output;
use proto::agent::v1::{
    CancelJobRequest, CloseStdin, CommandRequest, CommandResponse, ExecuteStreamRequest, GetJobRequest, ResourceLimits,
    Terminal, WindowSize,
};
use tests::{Cluster, ExecNode, eventually, survivors};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

const PROBE: &str = env!("CARGO_BIN_EXE_exec-probe");
const ANY: &str = "mode = 'any'\nshell = '/bin/sh'\n";

fn argv(words: &[&str]) -> CommandRequest {
    CommandRequest { argv: words.iter().map(|word| (*word).to_owned()).collect(), ..CommandRequest::default() }
}

fn script(text: &str) -> CommandRequest {
    CommandRequest { shell: true, ..argv(&[text]) }
}

fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

async fn run(node: &ExecNode, request: CommandRequest) -> CommandResponse {
    node.client.clone().execute_command(request).await.unwrap().into_inner()
}

async fn refused(node: &ExecNode, request: CommandRequest) -> tonic::Status {
    node.client.clone().execute_command(request).await.unwrap_err()
}

fn out(response: &CommandResponse) -> String {
    String::from_utf8_lossy(&response.stdout.as_ref().unwrap().head).into_owned()
}

fn code(response: &CommandResponse) -> i32 {
    match &response.outcome {
        Some(Outcome::Exited(exited)) => exited.code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_ends_in_one_of_the_ways_that_there_are() {
    let cluster = Cluster::start().await;
    let node = ExecNode::start(&cluster, PROBE, ANY).await;
    assert_eq!(code(&run(&node, argv(&["true"])).await), 0);
    assert_eq!(code(&run(&node, argv(&["false"])).await), 1);

    let said = run(&node, CommandRequest { stdin: b"in".to_vec(), ..script("cat; echo err >&2; exit 7") }).await;
    assert_eq!(
        (code(&said), out(&said).as_str(), said.stderr.as_ref().unwrap().head.as_slice()),
        (7, "in", &b"err\n"[..])
    );
    assert!(said.peak_rss_bytes > 100_000 && said.wall_time.is_some(), "{said:?}");

    let killed = run(&node, script("kill -9 $$")).await.outcome;
    assert!(matches!(killed, Some(Outcome::Signalled(ref how)) if how.signal == 9 && !how.core_dumped), "{killed:?}");
    let missing = run(&node, argv(&["no-such-program"])).await.outcome;
    assert!(matches!(missing, Some(Outcome::SpawnFailed(ref how)) if how.errno == 2), "{missing:?}");
    let denied = run(&node, argv(&["/etc/passwd"])).await.outcome;
    assert!(matches!(denied, Some(Outcome::SpawnFailed(ref how)) if how.errno == 13), "{denied:?}");
    let nowhere = CommandRequest { working_directory: "/no/such/folder".to_owned(), ..argv(&["true"]) };
    let nowhere = run(&node, nowhere).await.outcome;
    assert!(matches!(nowhere, Some(Outcome::SpawnFailed(ref how)) if how.message.contains("/no/such")), "{nowhere:?}");
    let late = run(&node, CommandRequest { timeout: seconds(1), ..argv(&["sleep", "60"]) }).await;
    assert!(matches!(late.outcome, Some(Outcome::TimedOut(_))), "{late:?}");
    let limits = Some(ResourceLimits { file_bytes: Some(10), ..ResourceLimits::default() });
    let limited = run(&node, CommandRequest { limits, ..script("ulimit -f; umask; nice") }).await;
    let own = rustix::process::getpriority_process(None).unwrap();
    assert_eq!(out(&limited), format!("0\n0022\n{own}\n"));
    let set = CommandRequest { umask: Some(0o77), nice: 3, ..script("umask; nice") };
    assert_eq!(out(&run(&node, set).await), format!("0077\n{}\n", own + 3));
    node.stop().await;
}

/// S30.
#[tokio::test(flavor = "multi_thread")]
async fn commands_are_off_unless_the_nodes_own_configuration_says_otherwise() {
    let cluster = Cluster::start().await;
    let _fleet = cluster.nodes(1).await;
    let said = cluster.pictl(&["exec", "sim-1", "--", "true"]).await;
    assert_eq!(said.exit, Exit::Conflict, "{}", said.err);
    assert!(said.err.contains("commands are off on this node: set mode in [exec]"), "{}", said.err);
    let off = ExecNode::start(&cluster, PROBE, "").await;
    assert_eq!(refused(&off, argv(&["true"])).await.code(), Code::FailedPrecondition);
    off.stop().await;

    let text = "mode = 'templates'\n[exec.templates.say]\nargv = ['echo', '<{what}>', '$(id)']\n\
                parameters = { what = { one_of = ['a b', 'c'] } }\n";
    let node = ExecNode::start(&cluster, PROBE, text).await;
    assert_eq!(refused(&node, argv(&["true"])).await.code(), Code::FailedPrecondition);
    let say = |value: &str| CommandRequest {
        template: "say".to_owned(),
        parameters: BTreeMap::from([("what".to_owned(), value.to_owned())]),
        ..CommandRequest::default()
    };
    assert_eq!(out(&run(&node, say("a b")).await), "<a b> $(id)\n");
    assert_eq!(refused(&node, say("d")).await.code(), Code::InvalidArgument);
    node.stop().await;
}

/// B9.
#[tokio::test(flavor = "multi_thread")]
async fn arguments_arrive_byte_for_byte() {
    let cluster = Cluster::start().await;
    let node = ExecNode::start(&cluster, PROBE, ANY).await;
    const PARTS: [&str; 16] = [
        "",
        "-",
        "--",
        "-rf",
        "$(id)",
        "`id`",
        ";",
        "\n",
        "*",
        "{a,b}",
        "\"",
        "'",
        "\\",
        "é\u{1f600}",
        " ",
        "%s\t|&><",
    ];
    let mut random = fastrand::Rng::with_seed(tests::seed());
    let mut random = |below: usize| random.usize(..below);
    let cases = tests::size(50, 500);
    for case in 0..cases {
        let count = 1 + random(6);
        let words: Vec<String> =
            (0..count).map(|_| (0..random(4)).map(|_| PARTS[random(PARTS.len())]).collect()).collect();
        let all: Vec<&str> = [PROBE, "argv"].into_iter().chain(words.iter().map(String::as_str)).collect();
        let said = run(&node, argv(&all)).await;
        let expected: String = words.iter().map(|word| format!("{word}\0")).collect();
        assert_eq!(out(&said), expected, "case {case}: {words:?}");
    }
    tests::figure(format!("{cases} command lines arrived byte for byte, none interpreted"));
    node.stop().await;
}

/// B10.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_finds_what_is_documented_and_nothing_else() {
    let cluster = Cluster::start().await;
    let text = "mode = 'any'\nallow_environment = ['TZ']\nenvironment = { SITE = 'lab' }\n";
    let node = ExecNode::start(&cluster, PROBE, text).await;
    let with = |name: &str, request| CommandRequest {
        environment: BTreeMap::from([(name.to_owned(), "canary".to_owned())]),
        ..request
    };
    let said = out(&run(&node, with("TZ", argv(&[PROBE, "environment"]))).await);
    let names: Vec<&str> = said.lines().map(|line| line.split('=').next().unwrap()).collect();
    assert_eq!(names, ["HOME", "LANG", "LOGNAME", "PATH", "SITE", "TZ", "USER"], "{said}");
    assert_eq!(out(&run(&node, argv(&[PROBE, "descriptors"])).await), "[0, 1, 2]\n");
    for name in ["LD_PRELOAD", "PATH", "X"] {
        let refused = refused(&node, with(name, argv(&["true"]))).await;
        assert_eq!(refused.code(), Code::PermissionDenied);
        assert!(refused.message().contains(name) && !refused.message().contains("canary"), "{refused:?}");
    }
    let many = vec!["x"; 10_000];
    for wrong in [argv(&["bin/true"]), argv(&["./true"]), argv(&[]), argv(&[""]), argv(&many)] {
        assert_eq!(refused(&node, wrong).await.code(), Code::InvalidArgument);
    }
    let inside = CommandRequest { working_directory: "tmp".to_owned(), ..argv(&["true"]) };
    assert_eq!(refused(&node, inside).await.code(), Code::InvalidArgument);
    let root = CommandRequest { user: "root".to_owned(), ..argv(&["true"]) };
    assert_eq!(refused(&node, root).await.code(), Code::PermissionDenied);
    assert_eq!(refused(&node, script("true")).await.code(), Code::FailedPrecondition, "there is no shell");
    node.stop().await;
}

async fn open(
    node: &ExecNode,
    request: CommandRequest,
) -> (mpsc::Sender<ExecuteStreamRequest>, tonic::Streaming<proto::agent::v1::ExecuteStreamResponse>) {
    let (requests, stream) = mpsc::channel(8);
    requests.send(ExecuteStreamRequest { input: Some(Input::Start(request)) }).await.unwrap();
    let answers = node.client.clone().execute_stream(ReceiverStream::new(stream)).await.unwrap().into_inner();
    (requests, answers)
}

/// B11, the half that is kept; the other half is in `exec_process`.
#[tokio::test(flavor = "multi_thread")]
async fn much_output_is_kept_in_part_and_counted_in_full() {
    let cluster = Cluster::start().await;
    let node = ExecNode::start(&cluster, PROBE, ANY).await;
    let request = CommandRequest { output_limit: 1000, ..argv(&["seq", "1", "100000"]) };
    let stdout = run(&node, request).await.stdout.unwrap();
    assert_eq!((stdout.total_bytes, stdout.truncated), (588_895, true));
    assert!(stdout.head.starts_with(b"1\n2\n") && stdout.tail.ends_with(b"\n100000\n"));
    assert_eq!(stdout.head.len() + stdout.tail.len(), 1000);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_carries_input_signals_and_a_terminal() {
    let cluster = Cluster::start().await;
    let node = ExecNode::start(&cluster, PROBE, ANY).await;
    let (requests, mut answers) = open(&node, argv(&["cat"])).await;
    let tell = async |input| requests.send(ExecuteStreamRequest { input: Some(input) }).await.unwrap();
    tell(Input::Stdin(b"hello".to_vec())).await;
    assert_eq!(answers.message().await.unwrap().unwrap().output, Some(Output::Stdout(b"hello".to_vec())));
    tell(Input::CloseStdin(CloseStdin {})).await;
    match answers.message().await.unwrap().unwrap().output {
        Some(Output::Ended(ended)) => assert_eq!((code(&ended), ended.stdout.unwrap().total_bytes), (0, 5)),
        other => panic!("{other:?}"),
    }
    let (requests, answers) =
        open(&node, script("trap 'echo caught; exit 3' USR1; echo ready; while :; do sleep 0.05; done")).await;
    let all = follow(answers, async |text: &str| {
        if text == "ready\n" {
            requests.send(ExecuteStreamRequest { input: Some(Input::Signal(10)) }).await.unwrap();
        }
    });
    let (text, ended) = all.await;
    assert_eq!((text.as_str(), code(&ended)), ("ready\ncaught\n", 3));

    let size = Some(WindowSize { columns: 81, rows: 25 });
    let terminal = Some(Terminal { size, r#type: "vt100".to_owned() });
    let request = CommandRequest {
        terminal,
        ..script("trap 'stty size; exit' WINCH; stty size; tty >&2; echo $TERM; while :; do sleep 0.05; done")
    };
    let (requests, answers) = open(&node, request).await;
    let (text, ended) = follow(answers, async |text: &str| {
        if text.ends_with("vt100\r\n") {
            let size = Input::WindowSize(WindowSize { columns: 100, rows: 30 });
            requests.send(ExecuteStreamRequest { input: Some(size) }).await.unwrap();
        }
    })
    .await;
    assert!(text.starts_with("25 81\r\n/dev/pts/") && text.ends_with("vt100\r\n30 100\r\n"), "{text:?}");
    assert_eq!(code(&ended), 0);
    node.stop().await;
}

/// All of standard output, which `at` sees growing, and the end.
async fn follow(
    mut answers: tonic::Streaming<proto::agent::v1::ExecuteStreamResponse>,
    at: impl AsyncFn(&str),
) -> (String, CommandResponse) {
    let mut text = String::new();
    loop {
        match answers.message().await.unwrap().unwrap().output {
            Some(Output::Stdout(bytes)) => {
                text.push_str(&String::from_utf8_lossy(&bytes));
                at(&text).await;
            }
            Some(Output::Ended(ended)) => return (text, ended),
            Some(Output::Stderr(_)) => {} // the shell on the signal that its child got too
            other => panic!("{other:?}"),
        }
    }
}

/// I4.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_runs_once_even_across_a_restart() {
    let cluster = Cluster::start().await;
    let node = ExecNode::start(&cluster, PROBE, ANY).await;
    let file = cluster.folder("runs");
    let once = |id: &str| CommandRequest {
        request_id: id.to_owned(),
        ..script(&format!("echo x >> {0}; wc -l < {0}", file.display()))
    };
    let first = run(&node, once("a")).await;
    assert_eq!((out(&first).trim(), &run(&node, once("a")).await), ("1", &first));
    assert_eq!(out(&run(&node, once("b")).await).trim(), "2");
    let other = CommandRequest { request_id: "a".to_owned(), ..argv(&["true"]) };
    assert_eq!(refused(&node, other).await.code(), Code::AlreadyExists);
    let job = run(&node, CommandRequest { detach: true, ..argv(&["sleep", "861401"]) }).await.job;
    node.stop().await;
    assert!(survivors("861401").is_empty(), "a job does not outlive the agent");

    let node = ExecNode::start(&cluster, PROBE, ANY).await;
    let again = run(&node, once("a")).await;
    assert!(matches!(again.outcome, Some(Outcome::Lost(_))), "{again:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 2);
    let lost = node.client.clone().get_job(GetJobRequest { job }).await.unwrap().into_inner();
    assert!(matches!(lost.response.unwrap().outcome, Some(Outcome::Lost(_))));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_run_on_and_too_many_are_refused() {
    let cluster = Cluster::start().await;
    let node = ExecNode::start(&cluster, PROBE, &format!("{ANY}maximum_running = 1\nkill_grace_ms = 200\n")).await;
    let detached = |request| CommandRequest { detach: true, ..request };
    let job = run(&node, detached(argv(&["sleep", "861501"]))).await.job;
    assert_eq!(refused(&node, argv(&["true"])).await.code(), Code::ResourceExhausted);
    let get = async || node.client.clone().get_job(GetJobRequest { job: job.clone() }).await.unwrap().into_inner();
    assert!(matches!(get().await.response.unwrap().outcome, Some(Outcome::Running(_))));
    let cancelled = node.client.clone().cancel_job(CancelJobRequest { job: job.clone() }).await.unwrap().into_inner();
    assert!(matches!(cancelled.response.unwrap().outcome, Some(Outcome::Cancelled(_))));
    assert_eq!(get().await.holder, "operator/bob");
    eventually(async || node.client.clone().execute_command(argv(&["true"])).await.is_ok()).await;
    let job = run(&node, detached(argv(&["echo", "kept"]))).await.job;
    eventually(async || {
        let job = node.client.clone().get_job(GetJobRequest { job: job.clone() }).await.unwrap().into_inner();
        job.response.is_some_and(|response| response.stdout.is_some_and(|stdout| stdout.head == b"kept\n"))
    })
    .await;
    node.stop().await;
}

/// F2, the half that is ours: an agent that is killed takes its commands along, daemons too.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_outlives_a_killed_agent() {
    for round in 0..tests::size(3, 30) {
        let mark = (861_200_000 + round).to_string();
        let mut agent = tokio::process::Command::new(PROBE).args(["agent", &mark]).kill_on_drop(true).spawn().unwrap();
        let sleeps = async || survivors(&mark).iter().filter(|line| line.starts_with("sleep")).count();
        eventually(async || sleeps().await == 2).await;
        agent.kill().await.unwrap();
        eventually(async || survivors(&mark).is_empty()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pictl_carries_everything_through_the_controller() {
    let cluster = Cluster::start().await;
    let node = ExecNode::start(&cluster, PROBE, ANY).await;
    eventually(async || cluster.pictl(&["node", "show", &node.name]).await.out.contains("ready")).await;
    let said = cluster.pictl(&["exec", "pi-1", "--script", "echo $1; echo err >&2; exit 7", "--", "a b"]).await;
    assert_eq!((said.exit, said.out.as_str(), said.err.as_str()), (Exit::Command(7), "a b\n", "err\n"));
    let said = cluster.pictl(&["exec", "pi-1", "--script", "kill -9 $$"]).await;
    assert_eq!(said.exit.code(), 137, "{}", said.err);
    let said = cluster.pictl(&["exec", "pi-1", "--timeout", "1", "--", "sleep", "60"]).await;
    assert_eq!(said.exit.code(), 124, "{}", said.err);
    let said = cluster.pictl(&["exec", "pi-1", "--", "no-such-program"]).await;
    assert_eq!((said.exit.code(), said.err.contains("not started: no-such-program")), (127, true), "{}", said.err);
    let said = cluster.pictl(&["exec", "pi-1", "--env", "X=1", "--", "true"]).await;
    assert_eq!(said.exit, Exit::Denied, "{}", said.err);
    let job = cluster.pictl(&["exec", "pi-1", "--detach", "--", "echo", "later"]).await.out;
    eventually(async || cluster.pictl(&["job", "output", "pi-1", job.trim()]).await.out == "later\n").await;
    assert!(cluster.pictl(&["job", "list", "pi-1"]).await.out.contains("exited with 0"));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_command_on_many_simulated_nodes() {
    let cluster = Cluster::start().await;
    let fleet = cluster.nodes_with(3, &pi_sim::all_commands()).await;
    let said = cluster.pictl(&["exec", "--nodes", "all", "--", "uname", "-a"]).await;
    assert_eq!(said.exit, Exit::Done, "{}", said.err);
    assert!(
        said.out.contains("sim-2") && said.out.contains("Linux sim-3 ") && said.out.contains("3 ok, 0 failed"),
        "{}",
        said.out
    );
    let said = cluster.pictl(&["exec", "--nodes", "all", "-o", "json", "--", "sim-die", "9"]).await;
    assert_eq!(said.exit, Exit::Failed);
    let json: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(json["totals"]["failed"], 3);
    let said = cluster.pictl(&["exec", "--nodes", "room=attic", "--", "true"]).await;
    assert_eq!(said.exit, Exit::NotFound, "{}", said.err);
    fleet.stop().await;
    let said = cluster.pictl(&["exec", "--nodes", "all", "--", "true"]).await;
    assert!(said.out.contains("3 unreachable"), "{}", said.out);
}
