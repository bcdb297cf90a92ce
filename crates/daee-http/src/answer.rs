use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use daee_types::Coded;
use futures_util::{Stream, StreamExt as _};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

/// A value as JSON. A status that is none becomes 500.
pub fn json_answer(status: u16, value: &impl Serialize) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match serde_json::to_vec(value) {
        Ok(body) => (status, [(header::CONTENT_TYPE, JSON)], body).into_response(),
        // Only maps with keys that are no text have no JSON form.
        Err(error) => {
            tracing::error!(%error, "an answer has no JSON form");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// An error as the API shows it: `{"code", "message", "fault"}`.
pub fn error_answer(status: u16, error: &dyn Coded) -> Response {
    #[derive(Serialize)]
    struct Shown {
        code: &'static str,
        message: String,
        fault: daee_types::Fault,
    }
    let shown = Shown { code: error.code(), message: error.to_string(), fault: error.fault() };
    json_answer(status, &shown)
}

/// Values as they come, one line of JSON each (`application/x-ndjson`). Ends where the stream ends, or
/// breaks off at a value that has no JSON form.
pub fn ndjson_answer<T: Serialize>(values: impl Stream<Item = T> + Send + 'static) -> Response {
    let lines = values.map(|value| {
        let mut line = serde_json::to_vec(&value)?;
        line.push(b'\n');
        Ok::<_, serde_json::Error>(Bytes::from(line))
    });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson")),
        // Whoever stands between must not keep lines back until there are more.
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform")),
    ];
    (headers, Body::from_stream(lines)).into_response()
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");
