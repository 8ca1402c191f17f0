//! `pictl token`. A token's secret is made here, goes into the file, and nowhere else.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::Subcommand;
use mtls::{ContextError, CredentialsError, JoinToken};
use proto::fleet::v1::tokens_client::TokensClient;
use proto::fleet::v1::{CreateTokenRequest, CreateTokenResponse, ListTokensRequest, RevokeTokenRequest, Token};
use tonic::transport::Channel;

use crate::call::Caller;
use crate::exit::Failure;
use crate::output::{Output, json, or_dash, table};

const MINUTE: u64 = 60;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make a token that lets machines join
    Create(Box<Create>),
    /// Tokens that can still be used
    List {
        /// Those that ended, are used up or were taken back, too
        #[arg(long)]
        all: bool,
    },
    /// Take a token back at once; nodes that joined with it stay
    Revoke {
        /// Id of the token
        token: String,
    },
}

#[derive(clap::Args)]
#[command(after_help = "Examples:
  pictl token create --out join.token
  pictl token create --name pi-7 --serial 10000000abcdef01 --out pi-7.token
  pictl token create --uses 50 --lifetime 2d --label room=lab --approval --out lab.token

Then on each machine, with the file: pi-agent join FILE --controller HOST:PORT
A token for --name also lets a board with a new key take over the node of that name.
A node has the labels that you give it here or by `pictl node label`. With --own-labels it may add some of its own;
rights that are limited by label then depend on what it says.")]
pub(crate) struct Create {
    /// File for the token, mode 0600; default: standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// How long it lives, such as 30m, 2h or 7d, which is the longest
    #[arg(long, default_value = "1h", value_parser = lifetime)]
    lifetime: Duration,
    /// How many nodes may join with it
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000), conflicts_with_all = ["name", "serial"])]
    uses: u32,
    /// The only name that a node may join under
    #[arg(long)]
    name: Option<String>,
    /// The serial number of the only board that may join, as in /proc/device-tree/serial-number
    #[arg(long)]
    serial: Option<String>,
    /// Label for the nodes; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Let the nodes add labels of their own
    #[arg(long)]
    own_labels: bool,
    /// Have the nodes wait until somebody approves them: pictl node approve
    #[arg(long)]
    approval: bool,
}

pub(crate) async fn run(
    caller: &Caller,
    command: Command,
    output: Output,
    out: &mut dyn Write,
) -> Result<String, Failure> {
    let mut tokens = TokensClient::new(caller.channel()?);
    match command {
        Command::Create(create) => run_create(caller, tokens, *create, output, out).await,
        Command::List { all } => {
            let list = tokens.list_tokens(caller.request(ListTokensRequest { all })).await?.into_inner();
            match output {
                Output::Json => json(&list),
                Output::Table => Ok(list_table(&list.tokens)),
            }
        }
        Command::Revoke { token } => {
            let request = caller.request(RevokeTokenRequest { token_id: token });
            let answer = tokens.revoke_token(request).await?.into_inner();
            match output {
                Output::Json => json(&answer),
                Output::Table => {
                    let token = answer.token.unwrap_or_default();
                    Ok(format!("token {} lets nobody in any more; {} had joined with it", token.id, used(&token)))
                }
            }
        }
    }
}

async fn run_create(
    caller: &Caller,
    mut tokens: TokensClient<Channel>,
    create: Create,
    output: Output,
    out: &mut dyn Write,
) -> Result<String, Failure> {
    let Create { out: file, lifetime, uses, name, serial, labels, own_labels, approval } = create;
    if file.is_none() && output == Output::Json {
        return Err(Failure::Usage("name a file for the token with --out: its secret is not in the JSON"));
    }
    let seed = JoinToken::new_seed().map_err(|error| Failure::Token(error.to_string()))?;
    let request = caller.request(CreateTokenRequest {
        public_key: JoinToken::public_key_of(&seed).map_err(ContextError::from)?.to_vec(),
        lifetime: prost_types::Duration::try_from(lifetime).ok(),
        uses,
        bound_name: name.unwrap_or_default(),
        bound_serial: serial.unwrap_or_default(),
        labels: labels.into_iter().collect(),
        own_labels,
        approval,
    });
    let answer = tokens.create_token(request).await?.into_inner();
    let CreateTokenResponse { token_id, cluster_id, ca_public_key_sha256, expires } = answer.clone();
    let pin = ca_public_key_sha256.try_into().map_err(|_| Failure::Token("the answer has no CA".to_owned()))?;
    let token = JoinToken::new(&cluster_id, pin, &token_id, seed).map_err(|error| Failure::Token(error.to_string()))?;
    let Some(file) = file else {
        writeln!(out, "{}", *token.to_text())?;
        return Ok(String::new());
    };
    write(&file, &token)?;
    match output {
        Output::Json => json(&answer),
        Output::Table => Ok(format!(
            "token {token_id} until {} in {}; next, on the machine: pi-agent join FILE --controller {}",
            crate::node::timestamp(expires),
            file.display(),
            caller.controller()
        )),
    }
}

fn write(file: &Path, token: &JoinToken) -> Result<(), Failure> {
    let written = mtls::write_private(file, token.to_text().as_bytes());
    Ok(written.map_err(|error| ContextError::from(CredentialsError::from(error)))?)
}

fn used(token: &Token) -> u32 {
    token.uses.saturating_sub(token.uses_left)
}

fn list_table(tokens: &[Token]) -> String {
    if tokens.is_empty() {
        return "no tokens; next: pictl token create --out join.token".to_owned();
    }
    let row = |token: &Token| {
        vec![
            token.id.clone(),
            state(token).to_owned(),
            format!("{}/{}", used(token), token.uses),
            crate::node::timestamp(token.expires),
            or_dash(only_for(token)),
            or_dash(crate::node::labels(&token.labels)),
            token.created_by.clone(),
        ]
    };
    table(&["TOKEN", "STATE", "JOINED", "UNTIL", "FOR", "LABELS", "BY"], tokens.iter().map(row))
}

fn state(token: &Token) -> &'static str {
    let ends = token.expires.and_then(|at| SystemTime::try_from(at).ok());
    match token {
        Token { revoked_at: Some(_), .. } => "revoked",
        Token { uses_left: 0, .. } => "used up",
        _ if ends.is_some_and(|at| at <= SystemTime::now()) => "ended",
        Token { approval: true, .. } => "asks",
        _ => "open",
    }
}

fn only_for(token: &Token) -> String {
    let serial = if token.bound_serial.is_empty() { String::new() } else { format!("serial {}", token.bound_serial) };
    [token.bound_name.clone(), serial].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

/// `30m`, `2h` or `7d`: at least a minute, at most a week.
fn lifetime(text: &str) -> Result<Duration, String> {
    let unit = match text.chars().last() {
        Some('m') => MINUTE,
        Some('h') => 60 * MINUTE,
        Some('d') => 24 * 60 * MINUTE,
        _ => return Err("expected a number and a unit, such as 30m, 2h or 7d".to_owned()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| "expected a number before the unit".to_owned())?;
    match number.saturating_mul(unit) {
        seconds @ MINUTE..=604_800 => Ok(Duration::from_secs(seconds)),
        _ => Err("expected 1m to 7d".to_owned()),
    }
}

/// `KEY=VALUE`.
pub(crate) fn label(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    pair.map(|(key, value)| (key.to_owned(), value.to_owned())).ok_or_else(|| "expected KEY=VALUE".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_have_a_unit_and_a_range() {
        let minutes = |text| lifetime(text).map(|lifetime| lifetime.as_secs() / MINUTE);
        assert_eq!([minutes("1m"), minutes("2h"), minutes("7d")], [Ok(1), Ok(120), Ok(10_080)]);
        for wrong in ["", "m", "0m", "8d", "1.5h", "-1h", "60", "18446744073709551615d", "1é"] {
            assert!(lifetime(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_label_has_a_key() {
        assert_eq!(label("room=a=b"), Ok(("room".to_owned(), "a=b".to_owned())));
        assert_eq!(label("room="), Ok(("room".to_owned(), String::new())));
        assert!(label("room").is_err() && label("=lab").is_err());
    }
}
