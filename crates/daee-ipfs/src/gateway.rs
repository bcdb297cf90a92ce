//! The trustless gateway: <https://specs.ipfs.tech/http-gateways/trustless-gateway/>. Its checks and
//! headers are in `docs/spec/gateway.md`.

use std::sync::Arc;

use daee_artifact::{Cid, CidError, package::single_block_car};
use daee_http::{
    axum::{
        Router,
        extract::{Path, RawQuery, State},
        response::{IntoResponse as _, Response},
        routing::get,
    },
    error_answer,
    http::{HeaderMap, StatusCode, header},
};
use daee_types::{Coded, Fault};

use crate::{Blocks, BlocksError};

/// Routes that serve `GET` and `HEAD /ipfs/{cid}` from a store, as raw block or CAR.
pub fn gateway_routes<B: Blocks>(blocks: Arc<B>) -> Router {
    Router::new().route("/ipfs/{cid}", get(answer::<B>)).with_state(blocks)
}

const RAW: &str = "application/vnd.ipld.raw";
const CAR: &str = "application/vnd.ipld.car";
/// The identity CID of nothing: what clients ask for to see whether this is a gateway.
const PROBE: &str = "bafkqaaa";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Raw,
    Car,
}

/// Why there is no block in the answer.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    NoCid(CidError),
    #[error("{0}")]
    Query(&'static str),
    #[error("say which format: `?format=raw`, `?format=car`, or Accept: {RAW}, {CAR}")]
    NoFormat,
    #[error("only {RAW} and {CAR} (version 1) are served here")]
    NotAcceptable,
    #[error("this node does not have {0}")]
    NotKept(String),
    #[error(transparent)]
    Store(#[from] BlocksError),
}

impl Coded for Refusal {
    fn code(&self) -> &'static str {
        match self {
            Refusal::NoCid(_) => "DAEE-I010",
            Refusal::Query(_) => "DAEE-I011",
            Refusal::NoFormat => "DAEE-I012",
            Refusal::NotAcceptable => "DAEE-I013",
            Refusal::NotKept(_) => "DAEE-I014",
            Refusal::Store(error) => error.code(),
        }
    }
    fn fault(&self) -> Fault {
        match self {
            Refusal::NotKept(_) => Fault::Network,
            Refusal::Store(error) => error.fault(),
            _ => Fault::Developer,
        }
    }
}

impl Refusal {
    fn status(&self) -> u16 {
        match self {
            Refusal::NoCid(_) | Refusal::Query(_) | Refusal::NoFormat => 400,
            Refusal::NotAcceptable => 406,
            Refusal::NotKept(_) => 404,
            Refusal::Store(_) => 500,
        }
    }
}

async fn answer<B: Blocks>(
    State(blocks): State<Arc<B>>,
    Path(cid): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    find(blocks, &cid, query.as_deref().unwrap_or_default(), &headers)
        .await
        .unwrap_or_else(|refusal| error_answer(refusal.status(), &refusal))
}

async fn find<B: Blocks>(
    blocks: Arc<B>,
    text: &str,
    query: &str,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let format = format(query, headers)?;
    if text == PROBE && format == Format::Raw {
        return Ok(content(text, Format::Raw, Vec::new()));
    }
    let cid: Cid = match text.parse() {
        Ok(cid) => cid,
        // A CID of a kind that no store of ours keeps: as good as any that is not there.
        Err(CidError::Kind(cid)) => return Err(Refusal::NotKept(cid)),
        Err(error) => return Err(Refusal::NoCid(error)),
    };
    // A block never changes, so whoever has it under this tag has it. The store is not asked.
    let known = headers.get_all(header::IF_NONE_MATCH).iter().any(|tags| {
        tags.to_str()
            .is_ok_and(|tags| tags.split(',').any(|tag| bare(tag) == bare(&etag(text, format))))
    });
    if known {
        let tag = [(header::ETAG, etag(text, format))];
        return Ok((StatusCode::NOT_MODIFIED, tag).into_response());
    }
    let kept = tokio::task::spawn_blocking(move || blocks.get(&cid))
        .await
        .map_err(|error| BlocksError(error.to_string()))??;
    let block = kept.ok_or_else(|| Refusal::NotKept(text.to_owned()))?;
    let bytes = match format {
        Format::Raw => block,
        Format::Car => single_block_car(&cid, &block),
    };
    Ok(content(text, format, bytes))
}

fn content(cid: &str, format: Format, bytes: Vec<u8>) -> Response {
    let (kind, ending) = match format {
        Format::Raw => (RAW.to_owned(), "bin"),
        Format::Car => (format!("{CAR}; version=1; order=dfs; dups=n"), "car"),
    };
    let headers = [
        ("content-type", kind),
        ("content-disposition", format!("attachment; filename=\"{cid}.{ending}\"")),
        ("etag", etag(cid, format)),
        ("cache-control", "public, max-age=29030400, immutable".to_owned()),
        ("vary", "accept".to_owned()),
        ("x-content-type-options", "nosniff".to_owned()),
        ("x-ipfs-path", format!("/ipfs/{cid}")),
        ("x-ipfs-roots", cid.to_owned()),
    ];
    (headers, bytes).into_response()
}

fn etag(cid: &str, format: Format) -> String {
    match format {
        Format::Raw => format!("\"{cid}.raw\""),
        // Weak: another gateway may write the same DAG in other bytes.
        Format::Car => format!("W/\"{cid}.car.dfs.n\""),
    }
}

/// A tag for the weak comparison that `If-None-Match` asks for.
fn bare(tag: &str) -> &str {
    let tag = tag.trim();
    tag.strip_prefix("W/").unwrap_or(tag)
}

/// The query's word counts more than the header's.
fn format(query: &str, headers: &HeaderMap) -> Result<Format, Refusal> {
    let mut found = None;
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        match (name, value) {
            ("format", "raw") => found = Some(Format::Raw),
            ("format", "car") => found = Some(Format::Car),
            ("format", _) => return Err(Refusal::NotAcceptable),
            ("car-version", "1") | ("car-order", "dfs" | "unk") | ("car-dups", "y" | "n") => {}
            ("car-version" | "car-order" | "car-dups", _) => {
                return Err(Refusal::Query("only CAR version 1 in order dfs is served here"));
            }
            // One raw block is the whole of its DAG, whatever the scope.
            ("dag-scope", "block" | "entity" | "all") => {}
            ("dag-scope", _) => return Err(Refusal::Query("dag-scope is block, entity or all")),
            _ => {}
        }
    }
    if let Some(format) = found {
        return Ok(format);
    }
    let accept = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut wanted = false;
    for entry in accept.flat_map(|value| value.split(',')) {
        let mut parts = entry.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        let served = parts.all(|part| match part.split_once('=') {
            Some(("version", version)) => version == "1",
            Some(("order", order)) => matches!(order, "dfs" | "unk"),
            Some(("q", q)) => !q.trim_end_matches(['0', '.']).is_empty(),
            _ => true,
        });
        match kind {
            "" | "*/*" | "application/*" => {}
            _ if kind.eq_ignore_ascii_case(RAW) && served => return Ok(Format::Raw),
            _ if kind.eq_ignore_ascii_case(CAR) && served => return Ok(Format::Car),
            _ => wanted = true,
        }
    }
    Err(if wanted { Refusal::NotAcceptable } else { Refusal::NoFormat })
}
