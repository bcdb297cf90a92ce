use std::net::{IpAddr, SocketAddr};

use daee_types::{Coded, Fault};
use url::{Host, Url};

use crate::{Permission, address::is_public};

/// What one agent may do.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    permissions: Vec<(Permission, u32)>,
}

/// Why an agent may not do something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// No line of the manifest allows it.
    #[error("not permitted: add {needs:?} to permissions in agent.yaml")]
    NotListed {
        /// The line that would allow it.
        needs: String,
    },
    /// A line allows the name, but it leads where no agent may go.
    #[error(
        "{host} is permitted by line {line} of agent.yaml, but resolves to {address}, which is not a \
         public address"
    )]
    NotPublic {
        /// The name.
        host: String,
        /// Where it led.
        address: IpAddr,
        /// The manifest's line, 0 if unknown.
        line: u32,
    },
    /// A line allows the name, but it leads to this node.
    #[error(
        "{host} is permitted by line {line} of agent.yaml, but resolves to this node ({address})"
    )]
    OwnAddress {
        /// The name.
        host: String,
        /// Where it led.
        address: IpAddr,
        /// The manifest's line, 0 if unknown.
        line: u32,
    },
    /// The name resolved to nothing.
    #[error("{0} does not resolve to any address")]
    NoAddress(String),
    /// Not an https URL of a plain kind.
    #[error("{url:?} cannot be fetched: {why}")]
    Url {
        /// As given, cut to 120 characters.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl Denial {
    /// The manifest line that would allow it, if a line can.
    pub fn needs(&self) -> Option<&str> {
        match self {
            Denial::NotListed { needs } => Some(needs),
            _ => None,
        }
    }
}

impl Coded for Denial {
    fn code(&self) -> &'static str {
        match self {
            Denial::NotListed { .. } => "DAEE-P001",
            Denial::NotPublic { .. } => "DAEE-P002",
            Denial::OwnAddress { .. } => "DAEE-P003",
            Denial::NoAddress(_) => "DAEE-P004",
            Denial::Url { .. } => "DAEE-P005",
        }
    }
    fn fault(&self) -> Fault {
        match self {
            Denial::NoAddress(_) => Fault::Network,
            _ => Fault::Developer,
        }
    }
}

impl Policy {
    /// From permissions and the lines they stand on (0 where unknown).
    pub fn new(permissions: Vec<(Permission, u32)>) -> Self {
        Self { permissions }
    }

    /// Judges a URL in the order of DESIGN 7: parsed once, https, a name, on the list.
    pub fn url(&self, text: &str) -> Result<Permit, Denial> {
        let wrong = |why| Denial::Url { url: text.chars().take(120).collect(), why };
        // The WHATWG parser drops these silently, so what is shown and what is fetched would differ.
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(wrong("it holds spaces or control characters"));
        }
        let url = Url::parse(text).map_err(|_| wrong("it is not a URL"))?;
        if url.scheme() != "https" {
            return Err(wrong("only https is spoken"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("it holds a user name or password: send a header instead"));
        }
        let host = match url.host() {
            Some(Host::Domain(name)) => name.trim_end_matches('.').to_owned(),
            Some(_) => return Err(wrong("its host is an address: a name is needed")),
            None => return Err(wrong("it has no host")),
        };
        let port = url.port().unwrap_or(443);
        let line = self.permissions.iter().find_map(|(permission, line)| match permission {
            Permission::NetworkOutbound { host: pattern, port: open } => {
                (pattern.matches(&host) && *open == port).then_some(*line)
            }
            _ => None,
        });
        let Some(line) = line else {
            let suffix = if port == 443 { String::new() } else { format!(":{port}") };
            return Err(Denial::NotListed { needs: format!("network_outbound:{host}{suffix}") });
        };
        Ok(Permit { url, host, port, line })
    }

    /// Whether `ipfs.read` is permitted.
    pub fn read_ipfs(&self) -> Result<(), Denial> {
        self.listed(&Permission::ReadIpfs)
    }

    /// Whether `chain.publish` is permitted.
    pub fn publish(&self) -> Result<(), Denial> {
        self.listed(&Permission::PublishToChain)
    }

    fn listed(&self, wanted: &Permission) -> Result<(), Denial> {
        match self.permissions.iter().any(|(permission, _)| permission == wanted) {
            true => Ok(()),
            false => Err(Denial::NotListed { needs: wanted.to_string() }),
        }
    }
}

/// A URL whose host the manifest lists; nothing was resolved yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    url: Url,
    host: String,
    port: u16,
    line: u32,
}

impl Permit {
    /// The name, lower case, without trailing dot: what TLS and the Host header must say.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Path and query, as a request line has them.
    pub fn target(&self) -> String {
        match self.url.query() {
            Some(query) => format!("{}?{query}", self.url.path()),
            None => self.url.path().to_owned(),
        }
    }

    /// Judges every address the host resolved to. One bad address spoils the name: a resolver that
    /// mixes public and private answers is an attack or a mistake.
    pub fn judge(&self, resolved: &[IpAddr], own: &[IpAddr]) -> Result<Grant, Denial> {
        let (host, line) = (self.host.clone(), self.line);
        if resolved.is_empty() {
            return Err(Denial::NoAddress(host));
        }
        for address in resolved {
            if !is_public(*address) {
                return Err(Denial::NotPublic { host, address: *address, line });
            }
            if own.contains(address) {
                return Err(Denial::OwnAddress { host, address: *address, line });
            }
        }
        let addresses = resolved.iter().map(|ip| SocketAddr::new(*ip, self.port)).collect();
        Ok(Grant { host, addresses })
    }

    /// The grant for a name that the operator of a development network sends to an address of this
    /// machine. The operator's word replaces the judgement, so callers must have it in writing.
    pub fn mapped(&self, to: SocketAddr) -> Grant {
        Grant { host: self.host.clone(), addresses: vec![to] }
    }
}

/// The right to dial these addresses as this host, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    host: String,
    addresses: Vec<SocketAddr>,
}

impl Grant {
    /// The name for TLS and the Host header.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The judged addresses.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        let lines = [
            "network_outbound:api.coingecko.com",
            "network_outbound:*.example.org",
            "network_outbound:alt.example.net:8443",
        ];
        Policy::new(lines.into_iter().zip(1..).map(|(l, n)| (l.parse().unwrap(), n)).collect())
    }

    fn check(url: &str, resolved: &str, expected: Result<&str, &str>) {
        let own = ["203.0.114.7".parse().unwrap()];
        let judged = policy().url(url).and_then(|permit| {
            let resolved: Vec<IpAddr> =
                resolved.split_whitespace().map(|ip| ip.parse().unwrap()).collect();
            permit.judge(&resolved, &own)
        });
        let shown = judged.as_ref().map(|g| g.addresses()[0].to_string()).map_err(Coded::code);
        assert_eq!(shown.as_deref().map_err(|e| *e), expected, "{url} -> {resolved}");
    }

    #[test]
    fn a_listed_host_is_dialled_at_the_judged_address() {
        check("https://api.coingecko.com/x?y=1", "1.1.1.1", Ok("1.1.1.1:443"));
        check("https://API.CoinGecko.com:443/", "1.1.1.1 8.8.8.8", Ok("1.1.1.1:443"));
        check("https://a.b.example.org/", "2606:4700::1", Ok("[2606:4700::1]:443"));
        check("https://alt.example.net:8443/", "1.1.1.1", Ok("1.1.1.1:8443"));
    }

    #[test]
    fn a_listed_host_never_leads_into_the_nodes_own_network() {
        for address in [
            "10.0.0.7",
            "127.0.0.1",
            "169.254.169.254",
            "::ffff:10.0.0.7",
            "::1",
            "fd00::1",
            "1.1.1.1 192.168.0.1",
            "64:ff9b::a00:7",
        ] {
            check("https://api.coingecko.com/", address, Err("DAEE-P002"));
        }
        check("https://api.coingecko.com/", "203.0.114.7", Err("DAEE-P003"));
        check("https://api.coingecko.com/", "", Err("DAEE-P004"));
    }

    #[test]
    fn what_is_not_listed_is_denied_with_the_line_that_would_allow_it() {
        for (url, needs) in [
            ("https://coingecko.com/", "network_outbound:coingecko.com"),
            ("https://api.coingecko.com.evil.net/", "network_outbound:api.coingecko.com.evil.net"),
            ("https://api.coingecko.com:444/", "network_outbound:api.coingecko.com:444"),
            ("https://example.org/", "network_outbound:example.org"),
            ("https://alt.example.net/", "network_outbound:alt.example.net"),
        ] {
            assert_eq!(policy().url(url).unwrap_err().needs(), Some(needs), "{url}");
        }
        assert_eq!(policy().read_ipfs().unwrap_err().needs(), Some("read_ipfs"));
        assert_eq!(policy().publish().unwrap_err().needs(), Some("publish_to_chain"));
    }

    #[test]
    fn urls_that_say_one_thing_and_mean_another_are_refused() {
        for url in [
            "http://api.coingecko.com/",
            "ftp://api.coingecko.com/",
            "https://user@api.coingecko.com/",
            "https://user:pass@api.coingecko.com/",
            "https://api.coin\tgecko.com/",
            "https://api.coingecko.com/a b",
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://[::1]/",
            "//api.coingecko.com/",
            "api.coingecko.com",
            "",
        ] {
            check(url, "1.1.1.1", Err("DAEE-P005"));
        }
    }

    #[test]
    fn a_trailing_dot_is_the_same_name() {
        let permit = policy().url("https://api.coingecko.com./").unwrap();
        assert_eq!(permit.host(), "api.coingecko.com");
    }
}
