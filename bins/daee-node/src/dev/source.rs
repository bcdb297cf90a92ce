//! The price source of a development network: a real HTTPS server with real JSON, under the name that the
//! oracle's manifest lists.

use std::net::SocketAddr;

use daee_http::{
    Server, ServerLimits, ServerTls,
    axum::{Router, routing::get},
    bind, json_answer,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::failure::Failure;

/// The host that the oracle's manifest lists.
pub const HOST: &str = "api.coingecko.com";
/// The price that is quoted before it begins to move, in cents of a US dollar.
const PRICE_CENTS: u64 = 312_741;

/// A server that only this machine believes to be that host.
pub struct Source {
    server: Server,
    /// The certificate of the authority that vouches for it, in PEM.
    pub authority_pem: String,
}

impl Source {
    pub async fn start(listen: SocketAddr) -> Result<Self, Failure> {
        let certificates = |error: rcgen::Error| Failure::new("no certificate", error);
        let listener = bind(listen).await?;

        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let authority_key = KeyPair::generate().map_err(certificates)?;
        let authority_cert = authority.self_signed(&authority_key).map_err(certificates)?;
        let issuer = Issuer::from_params(&authority, &authority_key);
        let key = KeyPair::generate().map_err(certificates)?;
        let leaf = CertificateParams::new([HOST.to_owned()]).map_err(certificates)?;
        let leaf = leaf.signed_by(&key, &issuer).map_err(certificates)?;

        let tls = ServerTls::new(leaf.pem().as_bytes(), key.serialize_pem().as_bytes())?;
        let routes = Router::new().route("/api/v3/simple/price", get(price));
        let server = Server::start_tls(listener, &tls, routes, ServerLimits::default());
        Ok(Self { server, authority_pem: authority_cert.pem() })
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    pub async fn stop(self) {
        self.server.stop().await;
    }
}

/// `{"ethereum": {"usd": 3127.41}}`, and another price each time it is asked.
async fn price() -> daee_http::axum::response::Response {
    use std::sync::atomic::{AtomicU64, Ordering};
    static ASKED: AtomicU64 = AtomicU64::new(0);
    let asked = ASKED.fetch_add(1, Ordering::Relaxed);
    // Up and down within a few dollars, so that whoever watches sees that it is read anew.
    let cents = PRICE_CENTS + (asked * 37) % 500;
    // Written as text: a float would not keep the cents.
    let number: serde_json::Number =
        format!("{}.{:02}", cents / 100, cents % 100).parse().expect("digits and a point");
    json_answer(200, &serde_json::json!({"ethereum": {"usd": number}}))
}
