use std::fmt;

use daee_http::http::{HeaderValue, Uri};
use data_encoding::BASE64;

use daee_types::{Coded, Fault};

/// What opens a place to whoever owns it. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Authorization(HeaderValue);

/// Why a place cannot be spoken to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// Not the URL of a host.
    #[error("{0:?} is not the base URL of a place: write it as in http://127.0.0.1:5001")]
    Url(String),
    /// Whoever is on the way would read the secret.
    #[error(
        "what opens {0} is not sent in the clear: name it with https, or reach it through a tunnel that \
         ends on this machine"
    )]
    Clear(String),
    /// The secret cannot be sent, whatever it is.
    #[error(
        "that does not open anything: write one line, `bearer:TOKEN` or `basic:USER:PASSWORD`, in \
         visible ASCII characters"
    )]
    Authorization,
}

impl Coded for PlaceError {
    fn code(&self) -> &'static str {
        match self {
            PlaceError::Url(_) => "DAEE-I030",
            PlaceError::Clear(_) => "DAEE-I031",
            PlaceError::Authorization => "DAEE-I032",
        }
    }
    fn fault(&self) -> Fault {
        Fault::Developer
    }
}

impl Authorization {
    /// A bare token.
    pub fn bearer(token: &str) -> Result<Self, PlaceError> {
        let token = token.trim();
        if token.is_empty() {
            return Err(PlaceError::Authorization);
        }
        Self::header(format!("Bearer {token}"))
    }

    /// Reads `bearer:TOKEN` or `basic:USER:PASSWORD`, as Kubo's configuration has them under
    /// `API.Authorizations`.
    pub fn read(text: &str) -> Result<Self, PlaceError> {
        match text.trim().split_once(':') {
            Some(("bearer", token)) => Self::bearer(token),
            Some(("basic", pair)) if pair.contains(':') => {
                Self::header(format!("Basic {}", BASE64.encode(pair.as_bytes())))
            }
            _ => Err(PlaceError::Authorization),
        }
    }

    pub(crate) fn value(&self) -> HeaderValue {
        self.0.clone()
    }

    fn header(text: String) -> Result<Self, PlaceError> {
        let mut value = HeaderValue::from_str(&text).map_err(|_| PlaceError::Authorization)?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorization(..)")
    }
}

/// A base URL without a slash at the end, if it is one: http or https, a host, no query.
pub(crate) fn base_url(url: &str) -> Option<String> {
    let base = url.trim_end_matches('/');
    let uri: Uri = base.parse().ok()?;
    let fits = matches!(uri.scheme_str(), Some("http" | "https"))
        && uri.host().is_some_and(|host| !host.is_empty())
        && uri.query().is_none();
    fits.then(|| base.to_owned())
}

/// The same of a place that is opened by a secret, which only TLS or this machine carries.
pub(crate) fn guarded_url(
    url: &str,
    authorization: Option<&Authorization>,
) -> Result<String, PlaceError> {
    let base = base_url(url).ok_or_else(|| PlaceError::Url(url.chars().take(120).collect()))?;
    let uri: Uri = base.parse().map_err(|_| PlaceError::Url(base.clone()))?;
    let host = uri.host().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let here = host == "localhost"
        || host.ends_with(".localhost")
        || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if authorization.is_some() && uri.scheme_str() != Some("https") && !here {
        return Err(PlaceError::Clear(base));
    }
    Ok(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_as_kubo_writes_it_and_never_shown() {
        let check = |text: &str, value: Option<&str>| {
            let read = Authorization::read(text).ok();
            assert_eq!(read.as_ref().map(|read| read.0.to_str().unwrap()), value, "{text}");
            assert!(!format!("{read:?}").contains("open"), "{read:?}");
        };
        check("bearer:open\n", Some("Bearer open"));
        check("basic:me:open:sesame", Some("Basic bWU6b3BlbjpzZXNhbWU="));
        for text in ["", "open", "bearer:", "bearer: ", "basic:open", "bearer:a\nb", "digest:a:b"] {
            check(text, None);
        }
    }

    #[test]
    fn a_secret_goes_over_tls_or_stays_on_this_machine() {
        let secret = Authorization::bearer("open").unwrap();
        let check = |url, with: Result<&str, &str>| {
            let found = guarded_url(url, Some(&secret));
            assert_eq!(found.as_deref().map_err(|error| error.code()), with, "{url}");
        };
        check("https://kubo.example/", Ok("https://kubo.example"));
        check("http://127.0.0.1:5001", Ok("http://127.0.0.1:5001"));
        check("http://[::1]:5001", Ok("http://[::1]:5001"));
        check("http://kubo.localhost:5001", Ok("http://kubo.localhost:5001"));
        check("http://kubo.example", Err("DAEE-I031"));
        check("http://10.0.0.1:5001", Err("DAEE-I031"));
        check("http://localhost.example", Err("DAEE-I031"));
        check("/ip4/127.0.0.1/tcp/5001", Err("DAEE-I030"));
        check("https://kubo.example?a=b", Err("DAEE-I030"));
        assert!(guarded_url("http://10.0.0.1:5001", None).is_ok());
    }
}
