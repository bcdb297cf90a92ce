use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, header};
use http_body_util::Full;
use tokio::time::timeout;
use url::{Host, Url};

use crate::{
    BodyReader, ClientTls, HttpError, Limits, Response, Roots, TlsError, Upload,
    dial::{Sent, open_on},
    exchange_on,
};

/// Fetches from URLs that an operator or a user of this machine named. What an agent names goes
/// through a broker that judges it first. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    tls: ClientTls,
}

impl Client {
    /// A client that trusts these roots.
    pub fn new(roots: &Roots) -> Result<Self, TlsError> {
        Ok(Self { tls: ClientTls::new(roots)? })
    }

    /// Gets a URL.
    pub async fn get(&self, url: &str, limits: &Limits) -> Result<Response, HttpError> {
        self.send(Method::GET, url, &[], Bytes::new(), limits).await
    }

    /// Sends a body with this content type.
    pub async fn post(
        &self,
        url: &str,
        content_type: &str,
        body: Bytes,
        limits: &Limits,
    ) -> Result<Response, HttpError> {
        self.send(Method::POST, url, &[("content-type", content_type)], body, limits).await
    }

    /// Exchanges any request for a whole answer.
    pub async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: Bytes,
        limits: &Limits,
    ) -> Result<Response, HttpError> {
        let mut request = http::Request::builder().method(method).uri(target(&read(url)?));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body).map_err(|error| HttpError::Request(error.to_string()))?;
        self.exchange(url, request, limits).await
    }

    /// Exchanges a request, whose own URI does not count, for a whole answer from this URL's host.
    pub async fn exchange(
        &self,
        url: &str,
        request: http::Request<Bytes>,
        limits: &Limits,
    ) -> Result<Response, HttpError> {
        let (origin, request) = self.prepare(url, request, limits.connect_time).await?;
        let tls = origin.tls.as_deref().map(|name| (&self.tls, name));
        exchange_on(&origin.addresses, tls, request, limits).await
    }

    /// The same, but the body is read piece by piece.
    pub async fn open(
        &self,
        url: &str,
        request: http::Request<Bytes>,
        limits: &Limits,
    ) -> Result<(http::response::Parts, BodyReader), HttpError> {
        self.open_any(url, request.map(Full::new), limits).await
    }

    /// The same for a request whose body is read while it is sent. The whole of it counts to the time
    /// until the answer's head.
    pub async fn upload(
        &self,
        url: &str,
        request: http::Request<Upload>,
        limits: &Limits,
    ) -> Result<(http::response::Parts, BodyReader), HttpError> {
        self.open_any(url, request, limits).await
    }

    async fn open_any<B: Sent>(
        &self,
        url: &str,
        request: http::Request<B>,
        limits: &Limits,
    ) -> Result<(http::response::Parts, BodyReader), HttpError> {
        let (origin, request) = self.prepare(url, request, limits.connect_time).await?;
        let tls = origin.tls.as_deref().map(|name| (&self.tls, name));
        let (head, body, _) = open_on(&origin.addresses, tls, request, limits).await?;
        Ok((head, body))
    }

    async fn prepare<B>(
        &self,
        url: &str,
        mut request: http::Request<B>,
        time: Duration,
    ) -> Result<(Origin, http::Request<B>), HttpError> {
        let url = read(url)?;
        *request.uri_mut() = target(&url).parse().map_err(|_| HttpError::Url(url.to_string()))?;
        if !request.headers().contains_key(header::HOST) {
            let host = url.host_str().unwrap_or_default();
            let host = match url.port() {
                Some(port) => format!("{host}:{port}"),
                None => host.to_owned(),
            };
            let host = HeaderValue::from_str(&host).map_err(|_| HttpError::Url(url.to_string()))?;
            request.headers_mut().insert(header::HOST, host);
        }
        Ok((Origin::find(&url, time).await?, request))
    }
}

struct Origin {
    addresses: Vec<SocketAddr>,
    /// The name for TLS, where it is spoken.
    tls: Option<String>,
}

impl Origin {
    async fn find(url: &Url, time: Duration) -> Result<Self, HttpError> {
        let port = url.port_or_known_default().ok_or_else(|| HttpError::Url(url.to_string()))?;
        let at = |ip: IpAddr| SocketAddr::new(ip, port);
        let (addresses, name) = match url.host() {
            Some(Host::Ipv4(ip)) => (vec![at(ip.into())], ip.to_string()),
            Some(Host::Ipv6(ip)) => (vec![at(ip.into())], ip.to_string()),
            // RFC 6761: this machine, whatever a resolver says of it.
            Some(Host::Domain(name)) if name == "localhost" || name.ends_with(".localhost") => {
                let here = [at(Ipv4Addr::LOCALHOST.into()), at(Ipv6Addr::LOCALHOST.into())];
                (here.to_vec(), name.to_owned())
            }
            Some(Host::Domain(name)) => (resolve(name, port, time).await?, name.to_owned()),
            None => return Err(HttpError::Url(url.to_string())),
        };
        Ok(Self { addresses, tls: (url.scheme() == "https").then_some(name) })
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "these names are the operator's own, and may well be in /etc/hosts"
)]
async fn resolve(name: &str, port: u16, time: Duration) -> Result<Vec<SocketAddr>, HttpError> {
    let found = timeout(time, tokio::net::lookup_host((name, port)))
        .await
        .map_err(|_| HttpError::timeout("answer from the resolver", time))?;
    let found: Vec<SocketAddr> = found.map(Iterator::collect).unwrap_or_default();
    if found.is_empty() { Err(HttpError::Resolve(name.to_owned())) } else { Ok(found) }
}

fn read(url: &str) -> Result<Url, HttpError> {
    let wrong = || HttpError::Url(url.chars().take(120).collect());
    let read = Url::parse(url).map_err(|_| wrong())?;
    let fits = matches!(read.scheme(), "http" | "https")
        && read.host().is_some()
        && read.username().is_empty()
        && read.password().is_none();
    if fits { Ok(read) } else { Err(wrong()) }
}

fn target(url: &Url) -> String {
    match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    }
}
