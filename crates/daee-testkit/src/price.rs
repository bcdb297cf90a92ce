use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use daee_http::{
    Server, ServerLimits, ServerTls,
    axum::{
        Router,
        extract::State,
        response::{IntoResponse as _, Redirect, Response},
    },
    bind,
    http::header,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

/// What a [`PriceServer`] does with a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Behaviour {
    /// Answers with the price.
    #[default]
    Honest,
    /// Answers with this instead, with status 200 and as JSON.
    Lie(String),
    /// Takes the request and says nothing.
    Stall,
    /// Sends the client to this URL.
    Redirect(String),
}

/// An HTTPS server with a price, and a certificate authority that only tests trust. On every path it
/// answers `{"ethereum":{"usd":PRICE}}`, as the API of TIP-0042's example does.
#[derive(Debug)]
pub struct PriceServer {
    server: Server,
    ca_pem: String,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    price: Mutex<String>,
    behaviour: Mutex<Behaviour>,
    requests: AtomicU64,
}

impl PriceServer {
    /// Starts one on a port of this machine that is free, with a certificate for these names. The price
    /// is `"0"` until it is set.
    pub async fn start(names: &[&str]) -> Self {
        let (ca_pem, chain_pem, key_pem) = certificates(names);
        let tls = ServerTls::new(chain_pem.as_bytes(), key_pem.as_bytes()).expect("they fit");
        let shared = Arc::new(Shared { price: Mutex::new("0".to_owned()), ..Shared::default() });
        let routes = Router::new().fallback(answer).with_state(shared.clone());
        let listener = bind("127.0.0.1:0".parse().expect("an address")).await.expect("a free port");
        let limits = ServerLimits {
            // One that stalls does so for longer than any client waits.
            request_time: Duration::from_secs(3600),
            drain_time: Duration::ZERO,
            ..ServerLimits::default()
        };
        let server = Server::start_tls(listener, &tls, routes, limits);
        Self { server, ca_pem, shared }
    }

    /// Where it listens.
    pub fn address(&self) -> std::net::SocketAddr {
        self.server.address()
    }

    /// Its authority's certificate, PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Writes the authority's certificate to a file.
    pub fn write_ca(&self, path: &Path) {
        std::fs::write(path, &self.ca_pem).expect("the folder is there");
    }

    /// What the price is from now on, a JSON number as in `"3120.55"`.
    pub fn set_price(&self, price: &str) {
        *self.shared.price.lock().expect("nobody panics with it") = price.to_owned();
    }

    /// How it behaves from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        *self.shared.behaviour.lock().expect("nobody panics with it") = behaviour;
    }

    /// Requests so far.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::SeqCst)
    }
}

async fn answer(State(shared): State<Arc<Shared>>) -> Response {
    shared.requests.fetch_add(1, Ordering::SeqCst);
    let behaviour = shared.behaviour.lock().expect("nobody panics with it").clone();
    let json = |body: String| ([(header::CONTENT_TYPE, "application/json")], body).into_response();
    match behaviour {
        Behaviour::Honest => {
            let price = shared.price.lock().expect("nobody panics with it").clone();
            json(format!("{{\"ethereum\":{{\"usd\":{price}}}}}"))
        }
        Behaviour::Lie(body) => json(body),
        Behaviour::Stall => std::future::pending().await,
        Behaviour::Redirect(url) => Redirect::temporary(&url).into_response(),
    }
}

/// An authority, and a chain and key that it vouches for.
fn certificates(names: &[&str]) -> (String, String, String) {
    let mut authority = CertificateParams::new(Vec::new()).expect("no names");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("there is randomness");
    let authority = CertifiedIssuer::self_signed(authority, key).expect("it can sign itself");
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let key = KeyPair::generate().expect("there is randomness");
    let server = CertificateParams::new(names).expect("names that DNS can have");
    let server = server.signed_by(&key, &authority).expect("it is signed");
    (authority.pem(), server.pem(), key.serialize_pem())
}
