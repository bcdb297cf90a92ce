use std::{net::SocketAddr, time::Duration};

use daee_http::{
    Server, ServerLimits,
    axum::{Router, response::IntoResponse as _},
    bind,
    http::header,
};

/// What a [`BadGateway`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Badness {
    /// Answers every CID with other bytes.
    Lies,
    /// Takes every request and says nothing.
    Stalls,
}

/// A gateway for content that cannot be relied on. A good one is a node.
#[derive(Debug)]
pub struct BadGateway(Server);

impl BadGateway {
    /// Starts one on a port of this machine that is free.
    pub async fn start(badness: Badness) -> Self {
        let routes = Router::new().fallback(move || async move {
            if badness == Badness::Stalls {
                std::future::pending::<()>().await;
            }
            ([(header::CONTENT_TYPE, "application/vnd.ipld.raw")], "not what was asked for")
                .into_response()
        });
        let listener = bind("127.0.0.1:0".parse().expect("an address")).await.expect("a free port");
        let limits = ServerLimits {
            request_time: Duration::from_secs(3600),
            drain_time: Duration::ZERO,
            ..ServerLimits::default()
        };
        Self(Server::start(listener, routes, limits))
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.0.address())
    }
}

/// An address of this machine where nobody listens: one that did a moment ago.
pub async fn closed_port() -> SocketAddr {
    let listener = bind("127.0.0.1:0".parse().expect("an address")).await.expect("a free port");
    listener.local_addr().expect("a bound listener has an address")
}
