//! `pictl operator`: who may do what.

mod certificate;
mod limits;

use std::path::PathBuf;

use clap::Subcommand;
use proto::fleet::v1::operators_client::OperatorsClient;
use proto::fleet::v1::{
    ChangeRolesRequest, GetOperatorRequest, Grant, ListOperatorsRequest, ListOperatorsResponse, Operator, Role,
};
use tonic::transport::Channel;

use crate::call::Caller;
use crate::exclusion;
use crate::exit::{Exit, Failure};
use crate::node::timestamp;
use crate::output::{Output, json, or_dash, table};

pub(crate) use certificate::{accept, request};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// All operators, and what they may do
    List,
    /// What an operator may do
    Show {
        /// Name of the operator; default: yourself
        operator: Option<String>,
    },
    /// Add an operator, and write what they need to call
    #[command(after_help = ADD_EXAMPLES)]
    Add {
        /// Name of the new operator
        operator: String,
        /// What they may do: viewer, logs, gpio, exec, shell, provision, admin, enroller
        #[arg(long, value_name = "ROLE", required = true, value_delimiter = ',', value_parser = limits::role)]
        role: Vec<Role>,
        #[command(flatten)]
        limits: limits::Limits,
        /// How long each certificate of theirs lasts, 12h to 90d
        #[arg(long, value_name = "TIME", default_value = "90d", value_parser = limits::lifetime)]
        lifetime: prost_types::Duration,
        /// The request that the operator made with `pictl operator request`, so that their key stays with them; default:
        /// a key is made here
        #[arg(long, value_name = "FILE")]
        csr: Option<PathBuf>,
        /// File for the context, mode 0600: a secret, unless it is for a request
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Change what an operator may do; acts from their next call on
    #[command(after_help = ROLE_EXAMPLES)]
    Role {
        /// Name of the operator
        operator: String,
        #[command(subcommand)]
        change: Change,
    },
    /// Keep an operator out for a time: their connections end within a second
    Lock {
        /// Name of the operator
        operator: String,
        /// Why, for other people
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Let a locked operator in again
    Unlock {
        /// Name of the operator
        operator: String,
    },
    /// Keep an operator out for good: their connections end within a second, and their name is used up
    Revoke {
        /// Name of the operator
        operator: String,
        /// Why, for other people
        #[arg(long, default_value = "")]
        reason: String,
        /// Yes, for good
        #[arg(long)]
        yes: bool,
    },
    /// Make a key, and a request for a certificate that an admin answers with `pictl operator add --csr`
    Request {
        /// File for the key, mode 0600: it stays with you; one that exists is used again
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// File for the request, which is not secret
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Put a key and what an admin made of its request together to a context
    Accept {
        /// The file that the admin sent
        answer: PathBuf,
        /// File of the key
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// File for the context, mode 0600: a secret
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Replace your own certificate and key before the certificate ends, or an operator's for whom you may
    Renew {
        /// Name of the operator; default: yourself
        #[arg(requires = "out")]
        operator: Option<String>,
        /// The request that the operator made with `pictl operator request`; default: a key is made here
        #[arg(long, value_name = "FILE", requires = "out")]
        csr: Option<PathBuf>,
        /// File for the context; default: the context that is in use
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

#[derive(Subcommand)]
pub(crate) enum Change {
    /// Give roles; one that the operator has gets the new limits
    Add {
        /// viewer, logs, gpio, exec, shell, provision, admin, enroller
        #[arg(required = true, value_parser = limits::role)]
        role: Vec<Role>,
        #[command(flatten)]
        limits: limits::Limits,
    },
    /// Take roles
    Remove {
        /// viewer, logs, gpio, exec, shell, provision, admin, enroller
        #[arg(required = true, value_parser = limits::role)]
        role: Vec<Role>,
    },
}

const ADD_EXAMPLES: &str = "Examples:
  pictl operator add bob --role viewer,gpio --nodes room=lab --lines 17,27 --out bob.context.toml
  pictl operator add bob --role logs --units nginx.service --csr bob.csr --out bob.answer.toml

Nobody gives a role that they have not, or further than they have it. A limit is of the role that it says something about:
--lines of gpio, --units and --sources of logs, --templates of exec, --nodes of all of them.";

const ROLE_EXAMPLES: &str = "Examples:
  pictl operator role bob add exec --templates backup,reboot
  pictl operator role bob remove gpio";

pub(crate) async fn run(caller: &Caller, command: Command, output: Output) -> Result<String, Failure> {
    let operator = match command {
        Command::List => {
            let list = ListOperatorsResponse { operators: all(caller).await?, next_page_token: String::new() };
            return match output {
                Output::Json => json(&list),
                Output::Table => Ok(list_table(&list.operators)),
            };
        }
        Command::Show { operator } => {
            let request = caller.request(GetOperatorRequest { name: operator.unwrap_or_default() });
            client(caller)?.get_operator(request).await?.into_inner().operator
        }
        Command::Role { operator, change } => {
            let (give, take) = match change {
                Change::Add { role, limits } => (limits.grants(&role)?, Vec::new()),
                Change::Remove { role } => (Vec::new(), role.into_iter().map(Into::into).collect()),
            };
            let request = caller.request(ChangeRolesRequest { name: operator, give, take });
            client(caller)?.change_roles(request).await?.into_inner().operator
        }
        Command::Add { operator, role, limits, lifetime, csr, out } => {
            let add = certificate::Add { operator, grants: limits.grants(&role)?, lifetime, csr, out };
            return certificate::add(caller, add, output).await;
        }
        Command::Renew { operator, csr, out } => return certificate::renew(caller, operator, csr, out, output).await,
        Command::Lock { operator, reason } => {
            return exclusion::lock(caller, &subject(&operator), reason, output).await;
        }
        Command::Unlock { operator } => return exclusion::unlock(caller, &subject(&operator), output).await,
        Command::Revoke { operator, reason, yes: true } => {
            return exclusion::revoke(caller, &subject(&operator), reason, output).await;
        }
        Command::Revoke { operator, .. } => {
            let why = "is for good: say so with --yes; to keep them out for a time: pictl operator lock";
            return Err(Failure::Command(Exit::Usage, format!("revoking {operator} {why} {operator}")));
        }
        Command::Request { key, out } => return request(&key, &out),
        Command::Accept { answer, key, out } => return accept(&answer, &key, &out),
    };
    let operator = operator.unwrap_or_default();
    match output {
        Output::Json => json(&operator),
        Output::Table => Ok(one_table(&operator)),
    }
}

fn subject(operator: &str) -> String {
    format!("operator/{operator}")
}

fn client(caller: &Caller) -> Result<OperatorsClient<Channel>, Failure> {
    Ok(OperatorsClient::new(caller.channel()?))
}

async fn all(caller: &Caller) -> Result<Vec<Operator>, Failure> {
    let mut client = client(caller)?;
    let (mut operators, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = caller.request(ListOperatorsRequest { page_size: 0, page_token });
        let page = client.list_operators(request).await?.into_inner();
        operators.extend(page.operators);
        if page.next_page_token.is_empty() {
            return Ok(operators);
        }
        page_token = page.next_page_token;
    }
}

fn list_table(operators: &[Operator]) -> String {
    let row = |operator: &Operator| {
        let grants: Vec<String> = operator.grants.iter().map(described).collect();
        let expires = or_dash(timestamp(operator.certificate_expires));
        let standing = operator.exclusion.as_ref().map(exclusion::word).unwrap_or_default();
        vec![operator.name.clone(), or_dash(standing), or_dash(grants.join("; ")), expires]
    };
    table(&["OPERATOR", "KEPT OUT", "ROLES", "CERTIFICATE UNTIL"], operators.iter().map(row))
}

fn one_table(operator: &Operator) -> String {
    let mut rows = vec![("operator", operator.name.clone())];
    match operator.grants.as_slice() {
        [] => rows.push(("roles", "none".to_owned())),
        grants => rows.extend(grants.iter().map(|grant| ("role", described(grant)))),
    }
    rows.extend(operator.exclusion.as_ref().map(|exclusion| ("kept out", exclusion::sentence(exclusion))));
    rows.push(("certificate until", timestamp(operator.certificate_expires)));
    rows.push(("added", timestamp(operator.created_at)));
    rows.push(("added by", operator.created_by.clone()));
    table(&[], rows.into_iter().map(|(name, value)| vec![name.to_owned(), or_dash(value)]))
}

/// `gpio: nodes room=lab, lines 17,27`.
fn described(grant: &Grant) -> String {
    let role = limits::word(grant.role());
    let scope = grant.scope.clone().unwrap_or_default();
    let labels = scope.nodes.map(|nodes| {
        let mut labels: Vec<String> = nodes.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        labels.sort();
        labels
    });
    let names = |names: Option<proto::fleet::v1::Names>| names.map(|names| names.names);
    let limits = [
        ("nodes", labels),
        ("lines", names(scope.lines)),
        ("units", names(scope.units)),
        ("sources", names(scope.sources)),
        ("templates", names(scope.templates)),
    ];
    let limits = limits.into_iter().filter_map(|(limit, names)| Some(format!("{limit} {}", names?.join(","))));
    match limits.collect::<Vec<_>>() {
        limits if limits.is_empty() => role.to_owned(),
        limits => format!("{role}: {}", limits.join(", ")),
    }
}
