//! `Audit`: pages of the audit, read beside who writes it. Verifying is for who asks.

use std::time::SystemTime;

use audit::{Anchor, Entry, Row};
use control_lib::{Identity, Name};
use proto::fleet::v1::audit_server::Audit;
use proto::fleet::v1::{AuditAnchor, AuditRow, ListRowsRequest, ListRowsResponse};
use tokio::task::spawn_blocking;
use tonic::{Request, Response, Status};

use crate::store::{AuditPage, AuditQuery, AuditReader};
use crate::wire;

/// Rows on a page: with the longest of texts it is still shorter than an answer may be.
const LARGEST_PAGE: u32 = 500;

pub(crate) struct AuditService {
    reader: AuditReader,
}

impl AuditService {
    pub(crate) fn new(reader: AuditReader) -> Self {
        Self { reader }
    }
}

#[tonic::async_trait]
impl Audit for AuditService {
    async fn list_rows(&self, request: Request<ListRowsRequest>) -> Result<Response<ListRowsResponse>, Status> {
        let query = query(request.into_inner())?;
        let (reader, limit) = (self.reader.clone(), query.limit);
        let page = spawn_blocking(move || reader.page(&query)).await;
        let page = page.map_err(|error| unreadable(&error))?.map_err(|error| unreadable(&error))?;
        Ok(Response::new(answer(page, limit)))
    }
}

fn query(message: ListRowsRequest) -> Result<AuditQuery, Status> {
    let ListRowsRequest { after_sequence, page_size, who, action, node, since } = message;
    let limit = if page_size == 0 { LARGEST_PAGE } else { page_size.min(LARGEST_PAGE) };
    let given = |text: String| (!text.is_empty()).then_some(text);
    let node = given(node).map(|node| node.parse::<Name>().map_err(|_| wire::unknown_node(&node))).transpose()?;
    let since = since.map(SystemTime::try_from).transpose();
    let since = since.map_err(|_| wire::invalid("since", "is out of range"))?;
    if since.is_some_and(|since| since < SystemTime::UNIX_EPOCH) {
        return Err(wire::invalid("since", "must not be before 1970"));
    }
    let about = node.map(|node| Identity::node(node).to_string());
    Ok(AuditQuery { after: after_sequence, limit, who: given(who), action: given(action), about, since })
}

fn answer(page: AuditPage, limit: u32) -> ListRowsResponse {
    let AuditPage { chain, rows, last: Anchor { sequence, hash } } = page;
    let last = Some(AuditAnchor { sequence, hash: hash.0.to_vec() });
    let more = rows.len() >= limit as usize;
    ListRowsResponse { rows: rows.into_iter().map(row).collect(), more, chain, last }
}

fn row(Row { sequence, entry, hash }: Row) -> AuditRow {
    let Entry { at, who, on_behalf_of, action, subject, outcome, detail } = entry;
    let (time, hash) = (Some(at.into()), hash.0.to_vec());
    AuditRow { sequence, time, who, on_behalf_of, action, subject, outcome, detail, hash }
}

fn unreadable(error: &dyn std::error::Error) -> Status {
    tracing::error!(why = %startup::one_line(error), "the audit cannot be read");
    Status::unavailable("the audit cannot be read: see the controller's log")
}
