use axum::{body::Body, extract::Request, response::Response};
use daee_types::{ByteSize, Coded, Fault};
use futures_util::stream::unfold;
use http::HeaderValue;

use crate::{Client, HttpError, Limits, error_answer, strip_hop_headers};

/// Marks a request that one node handed to another: it is handed on no further.
pub const FORWARDED_HEADER: &str = "daee-forwarded";

/// Hands a request to the server at `base` and its answer back, without the headers that are about
/// the connections. Host, path and query stay as they came, so the other side routes it as this one
/// did. The request's body is read up to `body_max` first; the answer's is passed on as it comes,
/// within `limits`.
pub async fn forward(
    client: &Client,
    base: &str,
    request: Request,
    body_max: ByteSize,
    limits: &Limits,
) -> Response {
    if request.headers().contains_key(FORWARDED_HEADER) {
        return error_answer(508, &ForwardError::Loop);
    }
    let (mut head, body) = request.into_parts();
    let max = usize::try_from(body_max.0).unwrap_or(usize::MAX);
    let Ok(body) = axum::body::to_bytes(body, max).await else {
        return error_answer(413, &ForwardError::TooLarge(body_max));
    };
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let url = format!("{}{target}", base.trim_end_matches('/'));
    // HTTP/2 has the host in the URI, and the next hop speaks HTTP/1.1.
    if let Some(authority) = head.uri.authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        head.headers.entry(http::header::HOST).or_insert(host);
    }
    strip_hop_headers(&mut head.headers);
    // The body is whole now, and is sent with its own length.
    head.headers.remove(http::header::CONTENT_LENGTH);
    head.headers.remove(http::header::EXPECT);
    head.headers.insert(FORWARDED_HEADER, HeaderValue::from_static("1"));
    head.version = http::Version::HTTP_11;

    match client.open(&url, http::Request::from_parts(head, body), limits).await {
        Ok((mut head, body)) => {
            strip_hop_headers(&mut head.headers);
            head.version = http::Version::HTTP_11;
            let pieces = unfold(Some(body), |body| async {
                let mut body = body?;
                match body.piece().await {
                    Ok(Some(piece)) => Some((Ok(piece), Some(body))),
                    Ok(None) => None,
                    // The client sees a body that breaks off, as it does here.
                    Err(error) => Some((Err(error), None)),
                }
            });
            Response::from_parts(head, Body::from_stream(pieces))
        }
        Err(error) => {
            let status = if matches!(error, HttpError::Timeout { .. }) { 504 } else { 502 };
            error_answer(status, &error)
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum ForwardError {
    #[error("two nodes hold each other for the one that answers here: try again in a moment")]
    Loop,
    #[error("the body is larger than {0}")]
    TooLarge(ByteSize),
}

impl Coded for ForwardError {
    fn code(&self) -> &'static str {
        match self {
            ForwardError::Loop => "DAEE-H030",
            ForwardError::TooLarge(_) => "DAEE-H031",
        }
    }
    fn fault(&self) -> Fault {
        match self {
            ForwardError::Loop => Fault::Node,
            ForwardError::TooLarge(_) => Fault::Developer,
        }
    }
}
