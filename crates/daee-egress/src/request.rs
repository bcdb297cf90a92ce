use std::time::Duration;

use daee_http::{
    Bytes,
    http::{self, HeaderMap, HeaderName, HeaderValue, Method, header},
    is_hop_header, strip_hop_headers,
};
use daee_policy::Permit;
use daee_types::ByteSize;

use crate::EgressError;

const METHODS: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
];
const HEADERS_MAX: usize = 64;
const HEADER_BYTES_MAX: usize = 16 << 10;

/// What an agent asks, beside the URL that its permit holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressRequest {
    /// GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS.
    pub method: String,
    /// Its headers. Those about the connection, `Host`, `Content-Length` and `Expect` are dropped: they
    /// are the broker's.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
    /// Time it may take; the node may have a lower bound.
    pub time: Duration,
    /// Bytes of the answer's body; the node may have a lower bound.
    pub body_max: ByteSize,
}

impl EgressRequest {
    /// A plain GET.
    pub fn get() -> Self {
        Self {
            method: "GET".to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            time: Duration::from_secs(30),
            body_max: ByteSize::mib(1),
        }
    }

    pub(crate) fn prepare(
        &self,
        permit: &Permit,
        body_max: ByteSize,
    ) -> Result<http::Request<Bytes>, EgressError> {
        let wrong = |why: String| EgressError::Request(why);
        let method = METHODS.into_iter().find(|known| known.as_str() == self.method);
        let method = method.ok_or_else(|| {
            let shown: String = self.method.chars().take(20).collect();
            wrong(format!("{shown:?} is not a method that is spoken here"))
        })?;
        if self.body.len() as u64 > body_max.0 {
            return Err(wrong(format!("its body is larger than {body_max}")));
        }
        let size: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        if self.headers.len() > HEADERS_MAX || size > HEADER_BYTES_MAX {
            return Err(wrong("it has more than 64 headers, or 16 KiB of them".to_owned()));
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let shown = || name.chars().take(40).collect::<String>();
            let name: HeaderName =
                name.parse().map_err(|_| wrong(format!("{:?} is no header", shown())))?;
            let value: HeaderValue =
                value.parse().map_err(|_| wrong(format!("the value of {:?} is none", shown())))?;
            headers.append(name, value);
        }
        // `Connection` may name further headers as the connection's, so it is read before it goes.
        strip_hop_headers(&mut headers);
        for name in [header::HOST, header::CONTENT_LENGTH, header::EXPECT] {
            headers.remove(name);
        }
        let host = match permit.port() {
            443 => permit.host().to_owned(),
            port => format!("{}:{port}", permit.host()),
        };
        let host = host.parse().map_err(|_| wrong("its host is no header".to_owned()))?;
        headers.insert(header::HOST, host);
        // Many servers turn away who does not say what it is.
        headers.entry(header::USER_AGENT).or_insert(HeaderValue::from_static("daee"));

        let mut request = http::Request::new(Bytes::copy_from_slice(&self.body));
        *request.method_mut() = method;
        *request.uri_mut() =
            permit.target().parse().map_err(|_| wrong("its path is none".to_owned()))?;
        *request.headers_mut() = headers;
        Ok(request)
    }
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressResponse {
    /// Its status; a redirect is an answer like any other.
    pub status: u16,
    /// Its headers without those about the connection. Bytes that are not UTF-8 are replaced.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl From<daee_http::Response> for EgressResponse {
    fn from(answer: daee_http::Response) -> Self {
        let headers = answer.headers.iter().filter(|(name, _)| !is_hop_header(name.as_str()));
        let shown = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        Self {
            status: answer.status.as_u16(),
            headers: headers.map(|(name, value)| (name.to_string(), shown(value))).collect(),
            body: answer.body.to_vec(),
        }
    }
}
