use std::{
    future::Future,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use hickory_resolver::{
    TokioResolver,
    config::{
        ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig,
        ResolverOpts,
    },
    net::runtime::TokioRuntimeProvider,
};

/// Finds the addresses of a name.
pub trait Resolve: Send + Sync + 'static {
    /// Every address of this name, of either family.
    fn resolve(&self, host: &str)
    -> impl Future<Output = Result<Vec<IpAddr>, ResolveError>> + Send;
}

/// A name was not resolved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot resolve {host}: {why}")]
pub struct ResolveError {
    /// The name.
    pub host: String,
    /// What the resolver says.
    pub why: String,
}

/// Asks name servers itself: no hosts file, no search domains, and no numbers taken for names, as the
/// system's resolver has them.
#[derive(Clone)]
pub struct Resolver(TokioResolver);

impl Resolver {
    /// Asks the name servers this machine is configured with.
    pub fn system() -> Result<Self, ResolveError> {
        let wrong =
            |why: String| ResolveError { host: "name servers of this machine".to_owned(), why };
        let mut builder =
            TokioResolver::builder_tokio().map_err(|error| wrong(error.to_string()))?;
        strict(builder.options_mut());
        builder.build().map(Self).map_err(|error| wrong(error.to_string()))
    }

    /// Asks these name servers.
    pub fn servers(servers: &[SocketAddr]) -> Result<Self, ResolveError> {
        let configs = servers.iter().map(|server| {
            let at = |mut connection: ConnectionConfig| {
                connection.port = server.port();
                connection
            };
            let connections = vec![at(ConnectionConfig::udp()), at(ConnectionConfig::tcp())];
            NameServerConfig::new(server.ip(), true, connections)
        });
        let config = ResolverConfig::from_name_servers(configs.collect());
        let mut builder =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        strict(builder.options_mut());
        builder.build().map(Self).map_err(|error| ResolveError {
            host: "given name servers".to_owned(),
            why: error.to_string(),
        })
    }
}

impl Resolve for Resolver {
    async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, ResolveError> {
        // The final dot says that the name is whole, so that no search domain is tried.
        let found = self.0.lookup_ip(format!("{host}.")).await;
        let found = found
            .map_err(|error| ResolveError { host: host.to_owned(), why: error.to_string() })?;
        Ok(found.iter().collect())
    }
}

fn strict(options: &mut ResolverOpts) {
    options.use_hosts_file = ResolveHosts::Never;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.timeout = Duration::from_secs(3);
    options.attempts = 2;
    options.cache_size = 1024;
    options.positive_max_ttl = Some(Duration::from_secs(300));
    options.negative_max_ttl = Some(Duration::from_secs(30));
}
