use std::sync::{Arc, RwLock};

use daee_http::{
    Bytes,
    axum::{
        Router,
        extract::{DefaultBodyLimit, State},
        response::{IntoResponse as _, Response},
        routing::post,
    },
    http::{HeaderMap, StatusCode, header},
};
use tokio::sync::Semaphore;

use crate::{
    clock::wall_seconds,
    rpc::{Node, exchange},
};

/// Bytes of a request: a batch of the largest transactions there are.
const BODY_BYTES_MAX: usize = 4 << 20;
/// Requests that are worked on at a time; the next wait.
const WORKING_MAX: usize = 8;

#[derive(Clone)]
struct Served {
    node: Arc<RwLock<Node>>,
    places: Arc<Semaphore>,
}

/// The routes of a node's JSON-RPC.
pub(crate) fn routes(node: Arc<RwLock<Node>>) -> Router {
    let places = Arc::new(Semaphore::new(WORKING_MAX));
    Router::new()
        .route("/", post(answer))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(Served { node, places })
}

async fn answer(State(served): State<Served>, headers: HeaderMap, body: Bytes) -> Response {
    // A page in a browser can send anything else to a port of this machine without asking first.
    let json = headers.get(header::CONTENT_TYPE).is_some_and(|kind| {
        kind.to_str().is_ok_and(|kind| kind.split(';').next().is_some_and(is_json))
    });
    if !json {
        let message = "send JSON-RPC with content-type: application/json\n";
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, message).into_response();
    }
    let Ok(place) = served.places.acquire_owned().await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let node = served.node;
    let work = tokio::task::spawn_blocking(move || {
        let answer = exchange(&node, &body, wall_seconds());
        drop(place);
        answer
    });
    match work.await {
        Ok(answer) => ([(header::CONTENT_TYPE, "application/json")], answer.unwrap_or_default())
            .into_response(),
        Err(error) => {
            tracing::error!(%error, "a request was not answered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn is_json(kind: &str) -> bool {
    kind.trim().eq_ignore_ascii_case("application/json")
}
