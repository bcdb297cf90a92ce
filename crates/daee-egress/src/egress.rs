use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    str::FromStr,
    time::Duration,
};

use daee_http::{ClientTls, HttpError, Limits, Roots, TlsError, exchange_on};
use daee_policy::{Grant, Permit};
use daee_types::{Coded, DeploymentId, Fault};
use tokio::time::{Instant, timeout};

use crate::{
    Broker, Caps, Decision, EgressError, EgressRequest, EgressResponse, Exchanged, Resolve,
    Verdict, caps::Meter,
};

/// How a node reaches out.
#[derive(Clone, Debug, Default)]
pub struct EgressSettings {
    /// What agents may take.
    pub caps: Caps,
    /// Addresses under which the node itself can be reached, [`route_addresses`] among them: no agent is
    /// let in there from inside.
    pub own_addresses: Vec<IpAddr>,
    /// Names that a development network sends to servers on this machine.
    pub map_hosts: Vec<MapHost>,
    /// Further certificate authorities, each the bytes of a PEM file.
    pub extra_roots_pem: Vec<Vec<u8>>,
}

/// `NAME=IP:PORT`: requests for this name go to this address of this machine, unjudged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapHost {
    name: String,
    to: SocketAddr,
}

impl MapHost {
    /// Maps a name. The address must be a loopback one: for all others the policy decides.
    pub fn new(name: &str, to: SocketAddr) -> Result<Self, SettingsError> {
        if !to.ip().is_loopback() || name.is_empty() {
            return Err(SettingsError::MapHost(format!("{name}={to}")));
        }
        Ok(Self { name: name.to_ascii_lowercase(), to })
    }
}

impl FromStr for MapHost {
    type Err = SettingsError;
    fn from_str(text: &str) -> Result<Self, SettingsError> {
        let wrong = || SettingsError::MapHost(text.chars().take(120).collect());
        let (name, to) = text.split_once('=').ok_or_else(wrong)?;
        Self::new(name, to.parse().map_err(|_| wrong())?)
    }
}

/// Settings that cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Not `NAME=IP:PORT` with a loopback address.
    #[error("{0:?} maps no name to this machine: write NAME=127.0.0.1:PORT")]
    MapHost(String),
    /// Certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl Coded for SettingsError {
    fn code(&self) -> &'static str {
        match self {
            SettingsError::MapHost(_) => "DAEE-E010",
            SettingsError::Tls(_) => "DAEE-E011",
        }
    }
    fn fault(&self) -> Fault {
        Fault::Node
    }
}

/// The broker, as a task of the node. Cheap to share behind an `Arc`.
#[derive(Debug)]
pub struct Egress<R> {
    settings: EgressSettings,
    tls: ClientTls,
    resolver: R,
    meter: Meter,
    started: Instant,
}

impl<R: Resolve> Egress<R> {
    /// Trusts what this machine trusts and the settings add. Says each mapped name aloud.
    pub fn new(settings: EgressSettings, resolver: R) -> Result<Self, SettingsError> {
        let roots = settings.extra_roots_pem.iter().fold(Roots::system(), |roots, pem| {
            tracing::warn!("agents' requests trust an additional certificate authority");
            roots.and_pem(pem)
        });
        for MapHost { name, to } in &settings.map_hosts {
            tracing::warn!(
                "DEVELOPMENT ONLY: agents that ask for {name} are sent to {to}, whatever it resolves to"
            );
        }
        let meter = Meter::new(settings.caps);
        Ok(Self { tls: ClientTls::new(&roots)?, settings, resolver, meter, started: now() })
    }

    async fn answer(
        &self,
        agent: DeploymentId,
        permit: &Permit,
        request: &EgressRequest,
        decision: &mut Decision,
    ) -> Result<EgressResponse, EgressError> {
        let caps = &self.settings.caps;
        let prepared = request.prepare(permit, caps.request_bytes_max)?;
        // The place is held until the exchange is over, however it ends.
        let _place = self.meter.enter(self.millis(), agent, permit.host())?;
        let time = request.time.min(Duration::from_millis(caps.exchange_millis_max));
        let body_max = request.body_max.min(caps.answer_bytes_max);
        let limits = Limits {
            connect_time: time.min(Duration::from_secs(10)),
            total_time: time,
            idle_time: time,
            body_bytes_max: body_max,
            ..Limits::default()
        };
        let exchange = async {
            let grant = self.grant(permit, decision).await?;
            decision.sent = request.body.len() as u64;
            let tls = Some((&self.tls, grant.host()));
            let answer = exchange_on(grant.addresses(), tls, prepared, &limits).await;
            answer.map_err(|error| match error {
                HttpError::TooLarge(max) => EgressError::TooLarge(max),
                HttpError::Timeout { millis, .. } => EgressError::Timeout(millis),
                other => EgressError::Failed(other.to_string()),
            })
        };
        let answer = match timeout(time, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(EgressError::Timeout(time.as_millis().try_into().unwrap_or(u64::MAX))),
        };
        decision.received = match &answer {
            Ok(answer) => answer.body.len() as u64,
            // It was read up to there before it was cut.
            Err(EgressError::TooLarge(max)) => max.0,
            Err(_) => 0,
        };
        self.meter.spent(agent, decision.sent + decision.received);
        answer.map(EgressResponse::from)
    }

    /// The one lookup, and the judgement of all that it found.
    async fn grant(&self, permit: &Permit, decision: &mut Decision) -> Result<Grant, EgressError> {
        if let Some(map) = self.settings.map_hosts.iter().find(|map| map.name == permit.host()) {
            tracing::warn!(host = map.name, to = %map.to, "a mapped name is dialled unjudged");
            decision.addresses = vec![map.to.ip()];
            decision.verdict = Verdict::Mapped;
            return Ok(permit.mapped(map.to));
        }
        decision.addresses = self.resolver.resolve(permit.host()).await?;
        let grant = permit.judge(&decision.addresses, &self.settings.own_addresses)?;
        decision.verdict = Verdict::Allowed;
        Ok(grant)
    }

    fn millis(&self) -> u64 {
        (now() - self.started).as_millis().try_into().unwrap_or(u64::MAX)
    }
}

impl<R: Resolve> Broker for Egress<R> {
    async fn exchange(
        &self,
        agent: DeploymentId,
        permit: Permit,
        request: EgressRequest,
    ) -> Exchanged {
        let started = self.millis();
        let mut decision = Decision {
            host: permit.host().to_owned(),
            port: permit.port(),
            addresses: Vec::new(),
            verdict: Verdict::Denied,
            reason: None,
            sent: 0,
            received: 0,
            millis: 0,
        };
        let answer = self.answer(agent, &permit, &request, &mut decision).await;
        decision.reason = answer.as_ref().err().map(|error| format!("{} {error}", error.code()));
        decision.millis = self.millis() - started;
        tracing::debug!(%agent, %decision, "egress");
        Exchanged { answer, decision }
    }
}

/// The addresses this machine sends from. What a router in front of it shows to the world is for the
/// operator to add.
pub fn route_addresses() -> Vec<IpAddr> {
    // Connecting a datagram socket sends nothing; it only chooses the source address.
    let targets = [
        (SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), SocketAddr::from(([192, 0, 2, 1], 9))),
        (
            SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
            SocketAddr::from((Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 9)),
        ),
    ];
    let source = |(from, to): (SocketAddr, SocketAddr)| {
        let socket = UdpSocket::bind(from).ok()?;
        socket.connect(to).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    targets.into_iter().filter_map(source).collect()
}

#[expect(clippy::disallowed_methods, reason = "this adapter waits, so it has a clock")]
fn now() -> Instant {
    Instant::now()
}
