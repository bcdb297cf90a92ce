//! Which permission holds another.

use std::net::IpAddr;

use daee_policy::Permission;

/// Whether whatever `narrow` allows, `wide` allows, too.
pub(crate) fn covers(wide: &Permission, narrow: &Permission) -> bool {
    use Permission::{Deploy, NetworkOutbound, NetworkOutboundIp};
    match (wide, narrow) {
        (NetworkOutbound { port: a, .. }, NetworkOutbound { port: b, .. }) => {
            a == b && covers_host(wide, narrow)
        }
        (NetworkOutboundIp { cidr: a, port: p }, NetworkOutboundIp { cidr: b, port: q }) => {
            let (Some((_, wide)), Some((first, narrow))) = (network(a), network(b)) else {
                return false;
            };
            p == q && wide <= narrow && a.contains(first)
        }
        (Deploy(most), Deploy(wanted)) => wanted <= most,
        _ => wide == narrow,
    }
}

/// The same for hosts, whatever the port.
pub(crate) fn covers_host(wide: &Permission, narrow: &Permission) -> bool {
    let (
        Permission::NetworkOutbound { host: wide, .. },
        Permission::NetworkOutbound { host: narrow, .. },
    ) = (wide, narrow)
    else {
        return false;
    };
    // A star stands for one label or more, so a name that is covered with `x` for it is covered for all.
    wide == narrow || wide.matches(&narrow.to_string().replace('*', "x"))
}

fn network(cidr: &daee_policy::Cidr) -> Option<(IpAddr, u8)> {
    let text = cidr.to_string();
    let (first, bits) = text.split_once('/')?;
    Some((first.parse().ok()?, bits.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(wide: &str, narrow: &str, expected: bool) {
        let (wide, narrow) = (wide.parse().unwrap(), narrow.parse().unwrap());
        assert_eq!(covers(&wide, &narrow), expected, "{wide} {narrow}");
    }

    #[test]
    fn what_is_the_same_or_less_is_covered() {
        check("read_ipfs", "read_ipfs", true);
        check("network_outbound:a.example.org", "network_outbound:a.example.org", true);
        check("network_outbound:*.example.org", "network_outbound:a.example.org", true);
        check("network_outbound:*.example.org", "network_outbound:a.b.example.org", true);
        check("network_outbound:*.example.org", "network_outbound:*.a.example.org", true);
        check(
            "network_outbound_ip:203.0.113.0/24:443",
            "network_outbound_ip:203.0.113.7/32:443",
            true,
        );
        check("network_outbound_ip:2001:db8::/32:1", "network_outbound_ip:2001:db8:1::/48:1", true);
        check("deploy:50", "deploy:5", true);
    }

    #[test]
    fn what_is_more_is_not() {
        check("read_ipfs", "write_ipfs", false);
        check("network_outbound:a.example.org", "network_outbound:b.example.org", false);
        check("network_outbound:a.example.org", "network_outbound:*.example.org", false);
        check("network_outbound:*.example.org", "network_outbound:example.org", false);
        check("network_outbound:*.example.org", "network_outbound:a.example.org:8443", false);
        check("network_outbound:*.a.example.org", "network_outbound:*.example.org", false);
        check("network_outbound:*.example.org", "network_outbound:a.badexample.org", false);
        check(
            "network_outbound_ip:203.0.113.7/32:443",
            "network_outbound_ip:203.0.113.0/24:443",
            false,
        );
        check(
            "network_outbound_ip:203.0.113.0/24:443",
            "network_outbound_ip:203.0.113.7/32:80",
            false,
        );
        check("network_outbound_ip:0.0.0.0/0:443", "network_outbound_ip:::/0:443", false);
        check("network_outbound:a.example.org", "network_outbound_ip:0.0.0.0/0:443", false);
        check("deploy:5", "deploy:50", false);
        check("manage:talos.a", "manage:talos.b", false);
    }
}
