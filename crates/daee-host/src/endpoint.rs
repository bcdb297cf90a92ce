//! Agents' own addresses: a request becomes a turn, its answer a response.

use std::{sync::Arc, time::Duration};

use daee_chain::Phase;
use daee_http::{
    Limits,
    axum::{
        body::{Body, to_bytes},
        extract::Request,
        response::Response,
    },
    error_answer, forward,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    is_hop_header,
};
use daee_lifecycle::{Caller, LifecycleError, REQUEST_HEADER, SESSION_HEADER, endpoint_label};
use daee_runtime::{Answer, Outcome};
use daee_types::{ByteSize, DeploymentId};

use crate::{
    agents::{self, Refused, Reply},
    api,
    error::EndpointError,
    host::Shared,
};

/// Largest body of a request to an agent.
const BODY_MAX: ByteSize = ByteSize::mib(4);
/// What another node may take to answer for an agent that it runs.
const FORWARD_TIME: Duration = Duration::from_secs(60);

/// Answers for the agent of a deployment: here, or at the node that holds its lease.
pub(crate) async fn answer(
    shared: &Arc<Shared>,
    id: DeploymentId,
    label: &str,
    request: Request,
) -> Response {
    if let Some(agent) = shared.agent(id) {
        return here(shared, id, &agent, label, request).await.unwrap_or_else(refused);
    }
    let Ok(deployment) = shared.deployment(id).await else {
        return refused(EndpointError::NoSuchAgent(label.to_owned()));
    };
    let name = deployment.agent_id.split('@').next().unwrap_or_default();
    if endpoint_label(name, id) != label {
        return refused(EndpointError::NoSuchAgent(label.to_owned()));
    }
    let leased = matches!(deployment.phase, Phase::Leased | Phase::Closing);
    let why = match deployment.phase {
        Phase::Bidding => "nodes are bidding for it",
        Phase::Closed => "it was stopped",
        Phase::Leased | Phase::Closing if deployment.lease.node == shared.operator => {
            "this node is starting or ending it"
        }
        Phase::Leased | Phase::Closing => "its node is not reachable from here",
    };
    let elsewhere = (leased && deployment.lease.node != shared.operator)
        .then(|| shared.peers.endpoint_of(deployment.lease.node))
        .flatten();
    match elsewhere {
        Some(base) => {
            let limits = Limits { total_time: FORWARD_TIME, ..Limits::default() };
            forward(&shared.client, &base, request, BODY_MAX, &limits).await
        }
        None => refused(EndpointError::NotRunning(why.to_owned())),
    }
}

async fn here(
    shared: &Shared,
    id: DeploymentId,
    agent: &agents::AgentHandle,
    label: &str,
    request: Request,
) -> Result<Response, EndpointError> {
    let face = agent.face();
    if face.label != label {
        return Err(EndpointError::NoSuchAgent(label.to_owned()));
    }
    let (parts, body) = request.into_parts();
    let max = usize::try_from(BODY_MAX.0).unwrap_or(usize::MAX);
    let body = to_bytes(body, max).await.map_err(|_| EndpointError::TooLarge)?;
    if face.is_private() {
        let Caller::Wallet(wallet) = api::caller(shared, &parts, &body)? else {
            return Err(LifecycleError::SignIn.into());
        };
        let deployment = shared.deployment(id).await.map_err(LifecycleError::Outside)?;
        if deployment.owner != wallet {
            return Err(LifecycleError::NotOwner { wallet, deployment: id }.into());
        }
    }
    let request = agents::Request {
        method: parts.method.as_str().to_owned(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: shown(&parts.headers),
        body: body.into(),
    };
    let reply = agent.request(request).await.map_err(|refused| match refused {
        Refused::Busy => EndpointError::Busy,
        Refused::Gone => EndpointError::NotRunning("it is being started again".to_owned()),
    })?;
    match reply {
        Reply::Answer(answer) => Ok(response(answer)),
        Reply::Failed(Outcome::Killed { why }) => Err(EndpointError::Killed(why)),
        Reply::Failed(outcome) => Err(EndpointError::Failed(outcome.to_string())),
        Reply::Resting(millis) => Err(EndpointError::Resting(millis)),
        Reply::Owing(millis) => Err(EndpointError::Owing(millis)),
        Reply::NotKept(why) => Err(EndpointError::NotKept(why)),
    }
}

/// What an agent sees of a request's headers: nothing about the connection, and nobody's sign-in.
fn shown(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .filter(|(name, _)| {
            let name = name.as_str();
            !is_hop_header(name) && name != SESSION_HEADER && name != REQUEST_HEADER
        })
        .map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        })
        .collect()
}

/// An agent's answer, without what is the node's to say.
fn response(answer: Answer) -> Response {
    let length = answer.body.len();
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status)
        .ok()
        .filter(|status| !status.is_informational())
        .unwrap_or(StatusCode::BAD_GATEWAY);
    for (name, value) in answer.headers {
        let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_bytes()))
        else {
            continue;
        };
        if !is_hop_header(name.as_str()) && name != header::CONTENT_LENGTH {
            response.headers_mut().append(name, value);
        }
    }
    let bodiless = matches!(response.status().as_u16(), 204 | 304);
    if !bodiless {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    response
}

fn refused(error: EndpointError) -> Response {
    let status = error.http_status();
    let mut response = error_answer(status, &error);
    if status == 503 {
        let seconds = match error {
            EndpointError::Resting(millis) | EndpointError::Owing(millis) => millis.div_ceil(1_000),
            _ => 1,
        };
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: u16, headers: &[(&str, &str)], shown: u16, kept: &[&str]) {
        let headers = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let answer = response(Answer { status, headers, body: b"abc".to_vec() });
        assert_eq!(answer.status().as_u16(), shown);
        let names: Vec<_> = answer.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(names, kept);
    }

    #[test]
    fn an_agent_says_nothing_about_the_connection_or_the_length() {
        check(200, &[("x-a", "1")], 200, &["x-a", "content-length"]);
        check(200, &[("connection", "close"), ("content-length", "9")], 200, &["content-length"]);
        check(200, &[("transfer-encoding", "chunked")], 200, &["content-length"]);
        check(200, &[("x-a", "1\r\nx-b: 2"), ("bad name", "1")], 200, &["content-length"]);
        check(204, &[], 204, &[]);
        check(101, &[], 502, &["content-length"]);
        check(0, &[], 502, &["content-length"]);
    }

    #[test]
    fn an_agent_sees_nobodys_sign_in() {
        let mut headers = HeaderMap::new();
        for name in [SESSION_HEADER, REQUEST_HEADER, "connection", "x-a"] {
            headers.insert(HeaderName::from_bytes(name.as_bytes()).unwrap(), "1".parse().unwrap());
        }
        assert_eq!(shown(&headers), [("x-a".to_owned(), "1".to_owned())]);
    }
}
