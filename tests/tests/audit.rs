//! S12 (its rows), S26, I6, T8, T23: what was done is written down, before it is done; nobody changes it unseen; and where it
//! cannot be written, it is not done.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use audit::Row;
use hal_core::LineId;
use pi_agent::{AuditCommand, Config};
use pi_controller::{TokenWish, create_token};
use pictl::Exit;
use proto::agent::v1::gpio_request::Operation;
use proto::agent::v1::{CommandRequest, GpioRequest, GpioState, OnConflict, ReadLine, ReleaseAllLines, ReleaseLine};
use rusqlite::Connection;
use tests::{
    Cluster, ExecNode, Said, SmallDisk, audit_rows, audit_verifies, claim, direct, eventually, figure, node_audit_rows,
    node_audit_verifies, reason, size, trusting,
};
use tokio_stream::StreamExt;
use tonic::Code;

const PROBE: &str = env!("CARGO_BIN_EXE_exec-probe");
const ANY: &str = "mode = 'any'\nshell = '/bin/sh'\n";

fn set(pin: u32, state: GpioState) -> GpioRequest {
    GpioRequest { pin: Some(pin), state: state.into(), ..GpioRequest::default() }
}

fn on(pin: u32, operation: Operation) -> GpioRequest {
    GpioRequest { pin: Some(pin), operation: Some(operation), ..GpioRequest::default() }
}

/// Who did what to what, and how it ended.
fn words(row: &Row) -> [&str; 4] {
    let entry = &row.entry;
    [&entry.who, entry.action.rsplit('/').next().unwrap(), &entry.subject, &entry.outcome].map(|text| text)
}

async fn audit(cluster: &Cluster, line: &str) -> Said {
    cluster.pictl(&[&["audit"], &line.split(' ').collect::<Vec<_>>()[..]].concat()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_through_the_controller_is_listed_verified_and_exported() {
    let cluster = Cluster::start().await;
    let fleet = cluster.nodes(1).await;
    for line in
        ["gpio set sim-1 17 high", "gpio set sim-1 17 low", "gpio get sim-1 17", "health sim-1", "metrics sim-1"]
    {
        assert_eq!(cluster.pictl(&line.split(' ').collect::<Vec<_>>()).await.exit, Exit::Done, "{line}");
    }
    let rows = audit_rows(&cluster);
    let told: Vec<_> = rows.iter().map(words).collect();
    assert_eq!(told[0], ["controller/c1", "operator.add", "operator/admin", "allowed"]);
    assert_eq!(told[1][..2], ["operator/admin", "token.create"]);
    assert_eq!(told[2][1..], ["join", "node/sim-1", "allowed"]);
    let gpio: Vec<_> = told.iter().filter(|row| row[1].contains("GPIO")).collect();
    assert_eq!(
        gpio,
        [&["operator/admin", "ControlGPIO", "node/sim-1", "allowed"]],
        "once a minute, and reads leave none"
    );

    let good = audit(&cluster, "verify").await;
    assert_eq!(good.exit, Exit::Done, "{}", good.err);
    let anchor = good.out.lines().last().unwrap().rsplit(' ').next().unwrap().to_owned();
    assert!(
        good.out.starts_with(&format!("{} rows of spiffe://lab are as they were written\n", rows.len())),
        "{}",
        good.out
    );

    let list = audit(&cluster, "list --action ControlGPIO --who admin --node sim-1 --since 1h").await.out;
    assert_eq!(list.lines().count(), 2, "{list}");
    assert!(list.contains("operator/admin") && list.contains("node/sim-1"), "{list}");
    assert_eq!(audit(&cluster, "list --who eve").await.out.lines().count(), 1, "the heading");
    let newest: serde_json::Value = serde_json::from_str(&audit(&cluster, "list -n 1 -o json").await.out).unwrap();
    assert_eq!(newest["sequence"], rows.len().to_string(), "as the protobuf mapping writes 64 bits");

    // a copy is verified without any connection, and holds a note of its end
    let copy = cluster.folder("audit.jsonl");
    let copy = copy.to_str().unwrap();
    assert_eq!(audit(&cluster, &format!("export --out {copy}")).await.exit, Exit::Done);
    let again = audit(&cluster, &format!("export --out {copy}")).await;
    assert_eq!(again.exit, Exit::Failed, "nothing is written over");
    let offline = async |line: &str| {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let words = ["pictl", "--context", "/nowhere", "audit", "verify"].into_iter().chain(line.split(' '));
        let exit = pictl::run(words, &mut out, &mut err).await;
        (exit, String::from_utf8(out).unwrap() + &String::from_utf8(err).unwrap())
    };
    assert_eq!(offline(copy).await.0, Exit::Done);
    assert_eq!(offline(&format!("{copy} --anchor {anchor}")).await.0, Exit::Done);
    let text = fs::read_to_string(copy).unwrap();
    fs::write(copy, text.replace("token.create", "token.delete")).unwrap();
    let (exit, said) = offline(copy).await;
    assert_eq!(exit, Exit::Failed);
    assert!(said.starts_with("row 2 was changed") && said.contains("1 damage"), "{said}");
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    fs::write(copy, lines[..lines.len() - 1].concat()).unwrap();
    assert!(offline(copy).await.1.contains(&format!("row {} is missing at the end", rows.len())));
    fleet.stop().await;
    audit_verifies(&cluster);
}

/// S26, seen by an operator.
#[tokio::test(flavor = "multi_thread")]
async fn an_edited_store_is_found_out_by_whoever_asks() {
    let cluster = Cluster::start().await;
    for _ in 0..5 {
        cluster.token(1).await;
    }
    let anchor = audit(&cluster, "verify").await.out.lines().last().unwrap().rsplit(' ').next().unwrap().to_owned();
    let intruder = Connection::open(cluster.controller_state().join("state.db")).unwrap();
    intruder.execute_batch("DROP TRIGGER audit_is_not_changed; DROP TRIGGER audit_is_not_deleted").unwrap();
    let after = async |tampering: &str, line: &str| {
        intruder.execute_batch(&format!("SAVEPOINT before; {tampering}; RELEASE before")).unwrap();
        audit(&cluster, line).await
    };
    intruder.execute_batch("CREATE TEMP TABLE kept AS SELECT * FROM audit").unwrap();
    let restore = "DELETE FROM audit; INSERT INTO audit SELECT * FROM kept";

    let edited = after("UPDATE audit SET who = 'operator/eve' WHERE sequence = 3", "verify").await;
    assert_eq!(
        (edited.exit, edited.out.as_str()),
        (Exit::Failed, "row 3 was changed, or another row was put before it\n")
    );
    assert_eq!(edited.err, "pictl: the audit of spiffe://lab is not as it was written: 1 damage in 6 rows\n");
    let dropped = after(&format!("{restore}; DELETE FROM audit WHERE sequence = 2"), "verify -o json").await;
    let json: serde_json::Value = serde_json::from_str(&dropped.out).unwrap();
    assert_eq!((&json["good"], &json["damages"][0]), (&false.into(), &"row 2 is missing before row 3".into()));
    let cut = format!("{restore}; DELETE FROM audit WHERE sequence > 4");
    assert_eq!(after(&cut, "verify").await.out, "rows 5 to 6 are missing at the end: it was cut off\n");
    let unnoted = "UPDATE meta SET audit_sequence = 4, audit_hash = (SELECT hash FROM audit WHERE sequence = 4)";
    assert_eq!(after(unnoted, "verify").await.exit, Exit::Done, "the control: without a note this is not to be seen");
    let noted = audit(&cluster, &format!("verify --anchor {anchor}")).await;
    assert_eq!(
        (noted.exit, noted.out.as_str()),
        (Exit::Failed, "rows 5 to 6 are missing at the end: it was cut off\n")
    );
    let other = after(&format!("{restore}; UPDATE meta SET cluster = 'barn'"), "verify").await;
    assert_eq!(other.exit, Exit::Failed, "meta says where it ends, not whose it is: {}", other.out);
}

/// S12's rows; T23.
#[tokio::test(flavor = "multi_thread")]
async fn each_denied_call_has_a_row_and_a_flood_of_them_has_two() {
    let mut cluster = Cluster::start().await;
    let fleet = cluster.nodes(1).await;
    let eve = cluster.credentials(&cluster.issuer(), "operator/eve", SystemTime::now());
    let context = cluster.context("eve.toml", &eve);
    for line in
        ["gpio set sim-1 17 high", "exec sim-1 -- true", "node list", "audit verify", "audit list", "logs sim-1"]
    {
        let said = cluster.pictl_as(&context, &line.split(' ').collect::<Vec<_>>()).await;
        assert_eq!(said.exit, Exit::Denied, "{line}: {}", said.err);
    }
    let denied = || {
        let rows = audit_rows(&cluster).into_iter().filter(|row| row.entry.outcome == "denied");
        rows.map(|row| row.entry.action.rsplit('/').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    eventually(async || denied().len() >= 5).await;
    assert_eq!(denied(), ["ControlGPIO", "ExecuteStream", "ListNodes", "ListRows", "StreamLogs"]);
    assert!(audit_rows(&cluster).iter().all(|row| row.entry.outcome != "denied" || row.entry.who == "operator/eve"));
    assert!(node_audit_rows(&cluster.folder("nodes").join("sim-1")).is_empty(), "nothing came as far as the node");

    let flood = size(1000, 10_000);
    let channel = cluster.dialer(&eve).channel(&cluster.address.to_string(), mtls::Expect::Controller).unwrap();
    let client = proto::fleet::v1::fleet_client::FleetClient::new(channel);
    for _ in 0..flood {
        let refused = client.clone().list_nodes(proto::fleet::v1::ListNodesRequest::default()).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
    }
    cluster.restart().await; // what was counted is written at the end
    let rows = audit_rows(&cluster);
    let listed: Vec<&Row> = rows.iter().filter(|row| words(row)[1] == "ListNodes").collect();
    let counted: usize =
        listed.iter().filter_map(|row| row.entry.detail.split(" times more").next()?.parse::<usize>().ok()).sum();
    assert_eq!(counted, flood, "{listed:?}");
    figure(format!("{flood} denied calls: {} rows", listed.len()));
    assert!(listed.len() <= 4, "one, its repeats, and as many where the minute is over: {listed:?}");
    fleet.stop().await;
    audit_verifies(&cluster);
}

/// F4 for what changes something: nothing is done that cannot be written down, reads go on, and it heals by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_controller_with_a_full_disk_changes_nothing_and_heals() {
    let (cluster, disk) = Cluster::start_in(|state| SmallDisk::mount(state, 2048)).await;
    let Some(disk) = disk else { return };
    let fleet = cluster.nodes(1).await;
    disk.fill();
    let admin = cluster.admin();
    let token = || {
        let (admin, wish) = (admin.clone(), TokenWish { lifetime: Duration::from_secs(60), uses: 1, name: None });
        tokio::spawn(async move { create_token(&admin, wish).await.map_err(|error| error.to_string()) })
    };
    // SQLite has a page or two of its log left
    let mut made = 0;
    let refused = loop {
        match token().await.unwrap() {
            Ok(_) => made += 1,
            Err(refused) => break refused,
        }
    };
    assert!(refused.contains("the controller's disk is full"), "{refused}");
    let all: Vec<_> = (0..50).map(|_| token()).collect();
    for answer in all {
        let refused = answer.await.unwrap().map(drop).unwrap_err();
        assert!(refused.contains("the controller's disk is full"), "{refused}");
    }
    let set = cluster.pictl(&["gpio", "set", "sim-1", "17", "high"]).await;
    assert!(set.exit == Exit::Unreachable && set.err.contains("cannot be audited"), "{set:?}");
    assert_ne!(fleet.nodes[0].2.driven(LineId(17)), Some(true), "nothing was done");
    for read in ["node list", "health sim-1", "audit verify", "audit list"] {
        let said = cluster.pictl(&read.split(' ').collect::<Vec<_>>()).await;
        assert_eq!(said.exit, Exit::Done, "{read}: {}", said.err);
    }
    let before = audit_verifies(&cluster);
    disk.clear();
    let cleared = std::time::Instant::now();
    eventually(async || cluster.pictl(&["gpio", "set", "sim-1", "17", "high"]).await.exit == Exit::Done).await;
    token().await.unwrap().unwrap();
    figure(format!("healed in {:?}", cleared.elapsed()));
    assert!(cleared.elapsed().as_secs() < 5, "{:?}", cleared.elapsed());
    let rows = audit_rows(&cluster);
    let tokens = rows.iter().filter(|row| words(row)[1] == "token.create").count();
    assert_eq!(tokens, 1 + made + 1, "I1: the fleet's, what was acknowledged, and the last");
    assert!(audit_verifies(&cluster) >= before + 2);
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_says_who_did_what_to_its_lines_and_for_whom() {
    let cluster = Cluster::start().await;
    let fleet = cluster.nodes_with(1, &Config { operations_per_second: 0, ..trusting(&["anna"]) }).await;
    let state = cluster.folder("nodes").join("sim-1");
    assert_eq!(cluster.pictl(&["gpio", "set", "sim-1", "17", "high"]).await.exit, Exit::Done);
    let mut anna = direct(&cluster, &fleet, 0, "anna");
    anna.control_gpio(claim(22, 0, OnConflict::Unspecified)).await.unwrap();
    let held = direct(&cluster, &fleet, 0, "anna").control_gpio(on(17, Operation::Release(ReleaseLine {}))).await;
    assert!(held.is_err(), "it is the admin's");
    let mut eve = direct(&cluster, &fleet, 0, "eve");
    assert_eq!(eve.control_gpio(set(27, GpioState::High)).await.unwrap_err().code(), Code::PermissionDenied);
    for _ in 0..100 {
        anna.control_gpio(on(22, Operation::Read(ReadLine {}))).await.unwrap();
    }
    // a program that toggles a line as fast as it can
    let count = size(2_000_usize, 20_000);
    let writes =
        (0..count).map(|number| set(22, if number.is_multiple_of(2) { GpioState::Low } else { GpioState::High }));
    let mut answers = anna.stream_gpio(tokio_stream::iter(writes)).await.unwrap().into_inner();
    while let Some(answer) = answers.next().await {
        answer.unwrap();
    }
    fleet.stop().await;

    let rows = node_audit_rows(&state);
    let parties = |row: &Row| (row.entry.who.clone(), row.entry.on_behalf_of.clone());
    assert_eq!(words(&rows[0]), ["controller/c1", "gpio.write", "GPIO17", "done"]);
    assert_eq!(parties(&rows[0]), ("controller/c1".to_owned(), "operator/admin".to_owned()));
    assert_eq!(rows[0].entry.detail, "high");
    assert_eq!(words(&rows[1]), ["operator/anna", "gpio.claim", "GPIO22", "done"]);
    assert_eq!(words(&rows[2]), ["operator/anna", "gpio.release", "GPIO17", "refused"]);
    assert_eq!(words(&rows[3]), ["operator/eve", "denied", "gpio", "refused"]);
    assert!(!rows.iter().any(|row| row.entry.action.contains("read")), "reads leave no row");
    let writes = rows.iter().filter(|row| words(row)[1..3] == ["gpio.write", "GPIO22"]).count();
    figure(format!("{count} writes to a line: {writes} rows"));
    assert!(writes <= 8, "{writes}");
    let counted: usize = rows
        .iter()
        .filter(|row| words(row)[1..3] == ["gpio.write", "GPIO22"])
        .map(|row| repeats(&row.entry.detail))
        .sum();
    assert_eq!(counted, count, "every write is a row or counted in one: {rows:#?}");
    node_audit_verifies(&state);

    let said = |command: AuditCommand| {
        let mut out = Vec::new();
        let ran = command.run(&state, &mut out).map_err(|error| error.to_string());
        (ran, String::from_utf8(out).unwrap())
    };
    let (ran, out) = said(AuditCommand::Verify { anchor: Vec::new() });
    assert!(ran.is_ok() && out.starts_with(&format!("{} rows of spiffe://lab/node/sim-1 are", rows.len())), "{out}");
    let (_, out) = said(AuditCommand::List { lines: 0, json: false });
    assert!(
        out.starts_with("1  20") && out.contains("operator/admin by controller/c1  gpio.write  GPIO17  done  high"),
        "{out}"
    );
    let file = &audit::journal_files(&state.join("audit")).unwrap()[0];
    fs::write(file, fs::read_to_string(file).unwrap().replace("operator/eve", "operator/bob")).unwrap();
    let (ran, out) = said(AuditCommand::Verify { anchor: Vec::new() });
    assert_eq!(
        (ran, out.as_str()),
        (
            Err("the audit is not as it was written: 1 damages".to_owned()),
            "row 4 was changed, or another row was put before it\n"
        )
    );
}

/// How many deeds a row stands for.
fn repeats(detail: &str) -> usize {
    let more = detail.split("; ").find_map(|part| part.split_once(" times more until")?.0.parse().ok());
    more.unwrap_or(1)
}

/// T8, T18: a command is in the audit before it starts, without what is secret.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_finds_itself_in_the_audit_when_it_starts() {
    let cluster = Cluster::start().await;
    let node = ExecNode::start(&cluster, PROBE, &format!("{ANY}allow_environment = ['PASSWORD']\n")).await;
    let state = cluster.folder("pi-1");
    let text = format!("cat {}/audit/*.jsonl", state.display());
    let request = CommandRequest {
        argv: vec![text],
        shell: true,
        environment: [("PASSWORD".to_owned(), "canary-in-environment".to_owned())].into(),
        stdin: b"canary-in-stdin".to_vec(),
        ..CommandRequest::default()
    };
    let mut client = node.client.clone();
    let said = client.execute_command(request).await.unwrap().into_inner();
    let seen = String::from_utf8(said.stdout.unwrap().head).unwrap();
    let itself: Row = audit::parse_row(seen.lines().last().unwrap()).unwrap();
    assert_eq!((words(&itself)[1], words(&itself)[3]), ("command.begin", "begun"));
    assert!(itself.entry.detail.contains("/audit/*.jsonl") && itself.entry.detail.contains("PASSWORD"), "{itself:?}");
    eventually(async || node_audit_rows(&state).last().is_some_and(|row| words(row)[1] == "command.end")).await;
    assert_eq!(node_audit_rows(&state).last().unwrap().entry.outcome, "exited 0");
    node.stop().await;
    for file in audit::journal_files(&state.join("audit")).unwrap() {
        let text = fs::read_to_string(file).unwrap();
        assert!(text.contains("input 15 bytes") && !text.contains("canary"), "{text}");
    }
    assert_eq!(node_audit_verifies(&state), 2);
}

/// Fails closed on the node: what cannot be written down is not done, reads and the emergency stop are.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_a_full_disk_does_nothing_but_read_and_make_safe() {
    let cluster = Cluster::start().await;
    let Some(disk) = SmallDisk::mount(&cluster.folder("nodes"), 1024) else { return };
    let fleet = cluster.nodes_with(1, &trusting(&["anna"])).await;
    let mut anna = direct(&cluster, &fleet, 0, "anna");
    let bench = &fleet.nodes[0].2;
    anna.control_gpio(set(17, GpioState::High)).await.unwrap();
    disk.fill();
    // at most a second's deeds are done before it is found out; none of them is lost
    let mut done = Vec::new();
    let refused = loop {
        // each one different, as what is repeated is counted: their rows are longer than the file's last page has room for
        let (pin, level) = (
            5 + done.len() as u32 % 20,
            if (done.len() / 20).is_multiple_of(2) { GpioState::High } else { GpioState::Low },
        );
        match anna.control_gpio(set(pin, level)).await {
            Ok(_) => done.push(pin),
            Err(refused) => break refused,
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(done.len() < 500, "found out within seconds");
    };
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::Unavailable, "CANNOT_AUDIT"), "{refused:?}");
    assert_eq!(anna.control_gpio(set(27, GpioState::High)).await.unwrap_err().code(), Code::Unavailable);
    assert_ne!(bench.driven(LineId(27)), Some(true), "nothing was done");
    let streamed = anna.stream_gpio(tokio_stream::iter([set(27, GpioState::High)])).await.unwrap().into_inner();
    let answers: Vec<_> = streamed.collect().await;
    let outcome = answers[0].as_ref().unwrap().outcome.as_ref().unwrap();
    assert!(format!("{outcome:?}").contains("CANNOT_AUDIT"), "{outcome:?}");
    anna.control_gpio(on(17, Operation::Read(ReadLine {}))).await.unwrap();
    anna.control_gpio(on(17, Operation::Release(ReleaseLine {}))).await.unwrap();
    let stop = GpioRequest { operation: Some(Operation::ReleaseAll(ReleaseAllLines {})), ..GpioRequest::default() };
    anna.control_gpio(stop).await.unwrap();
    disk.clear();
    let cleared = std::time::Instant::now();
    eventually(async || anna.clone().control_gpio(set(27, GpioState::High)).await.is_ok()).await;
    figure(format!("{} writes before it was found out; healed in {:?}", done.len(), cleared.elapsed()));
    assert!(cleared.elapsed().as_secs() < 5);
    fleet.stop().await;
    let state = cluster.folder("nodes").join("sim-1");
    let rows = node_audit_rows(&state);
    let has = |action: &str, subject: &str| rows.iter().any(|row| words(row)[1..3] == [action, subject]);
    assert!(done.iter().all(|pin| has("gpio.write", &format!("GPIO{pin}"))), "{done:?} {rows:#?}");
    assert!(has("gpio.write", "GPIO27") && has("gpio.release", "GPIO17"), "{rows:#?}");
    assert!(rows.iter().any(|row| row.entry.action == "gpio.release-all"), "{rows:#?}");
    let gap = rows.iter().find(|row| row.entry.action == "audit.gap").expect("a row about the gap");
    assert!(gap.entry.detail.contains("calls were refused, 0 rows are lost"), "{gap:?}");
    node_audit_verifies(&state);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_cannot_be_audited_does_not_start() {
    let cluster = Cluster::start().await;
    let state = cluster.folder("pi-1");
    let Some(disk) = SmallDisk::mount(&state, 1024) else { return };
    let node = ExecNode::start(&cluster, PROBE, ANY).await;
    let ran = cluster.folder("ran");
    let touch = |id: &str| CommandRequest {
        argv: vec!["touch".to_owned(), ran.display().to_string()],
        request_id: id.to_owned(),
        ..CommandRequest::default()
    };
    let mut client = node.client.clone();
    let works = CommandRequest { argv: vec!["true".to_owned()], ..CommandRequest::default() };
    client.execute_command(works).await.unwrap(); // it has come up
    disk.fill();
    let refused = client.execute_command(touch("")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    let again = client.execute_command(touch("once")).await.unwrap_err();
    assert_eq!((again.code(), reason(&again).as_str()), (Code::Unavailable, "CANNOT_AUDIT"));
    assert!(!Path::new(&ran).exists(), "it was not started");
    disk.clear();
    eventually(async || client.clone().execute_command(touch("once")).await.is_ok()).await;
    assert!(ran.exists());
    node.stop().await;
    assert!(node_audit_verifies(&state) >= 5, "two commands, and the gap");
}
