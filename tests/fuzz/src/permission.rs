use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use daee_policy::{Permission, Policy};

/// An address of the node itself.
const OWN: IpAddr = IpAddr::V4(Ipv4Addr::new(9, 9, 9, 9));

/// A permission, a URL, and the addresses that its host is said to have: two lines, and 16 bytes an address.
pub fn run(input: &[u8]) -> bool {
    let mut parts = input.splitn(3, |byte| *byte == b'\n');
    let mut text = || std::str::from_utf8(parts.next().unwrap_or_default()).ok();
    let (Some(permission), Some(url)) = (text(), text()) else { return false };
    let addresses: Vec<IpAddr> =
        parts.next().unwrap_or_default().chunks(16).take(8).map(address).collect();
    let Ok(permission) = permission.parse::<Permission>() else { return false };
    is_written_as_it_is_read(&permission);
    grants_only_what_is_listed(permission, url, &addresses);
    true
}

pub fn seeds() -> Vec<Vec<u8>> {
    let seed = |permission: &str, url: &str, address: Ipv6Addr| {
        [permission.as_bytes(), b"\n", url.as_bytes(), b"\n", &address.octets()].concat()
    };
    let public = Ipv4Addr::new(1, 1, 1, 1).to_ipv6_mapped();
    let private = Ipv4Addr::new(169, 254, 169, 254).to_ipv6_mapped();
    let unicast = Ipv6Addr::new(0x2606, 0x4700, 0, 0, 0, 0, 0, 0x1111);
    [
        ("network_outbound:api.example.org", "https://api.example.org/a?b=c", public),
        ("network_outbound:api.example.org:8443", "https://api.example.org:8443/", private),
        ("network_outbound:*.example.co.uk", "https://a.b.example.co.uk.", unicast),
        ("network_outbound:xn--nxasmq6b.example", "https://xn--nxasmq6b.example/", public),
        ("network_outbound_ip:203.0.113.0/24:443", "https://203.0.113.7/", public),
        ("network_outbound_ip:2001:db8::/32:443", "https://[2001:db8::1]/", unicast),
        ("read_ipfs", "https://user:pass@example.org/", public),
        ("write_ipfs", "https://0x7f.1/", private),
        ("publish_to_chain", "https://2130706433/", private),
        ("a2a_call:talos.oracle.price-eth", "http://example.org", public),
        ("deploy:50", "https:\\\\example.org", public),
        ("manage:talos.oracle", "", public),
    ]
    .map(|(permission, url, address)| seed(permission, url, address))
    .to_vec()
}

/// An IPv4 address stands behind the ten zeros and two ones that map it.
fn address(bytes: &[u8]) -> IpAddr {
    let mut all = [0; 16];
    all[..bytes.len()].copy_from_slice(bytes);
    let v6 = Ipv6Addr::from(all);
    v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4)
}

fn is_written_as_it_is_read(permission: &Permission) {
    let written = permission.to_string();
    assert_eq!(written.parse::<Permission>().as_ref(), Ok(permission), "{written}");
}

fn grants_only_what_is_listed(permission: Permission, url: &str, addresses: &[IpAddr]) {
    let listed = permission.to_string();
    let policy = Policy::new(vec![(permission, 1)]);
    let Ok(permit) = policy.url(url) else { return };
    let host = permit.host();
    assert!(names(&listed, host, permit.port()), "{listed} does not name {host} of {url:?}");
    assert!(host.parse::<IpAddr>().is_err(), "{host} of {url:?} is an address");
    let Ok(grant) = permit.judge(addresses, &[OWN]) else { return };
    assert_eq!(grant.host(), host);
    for granted in grant.addresses() {
        let ip = granted.ip();
        assert!(addresses.contains(&ip) && granted.port() == permit.port(), "{granted} is new");
        assert!(ip != OWN && !plainly_inside(ip), "{host} may lead to {ip}");
    }
}

/// Whether a permission as it is written names a host and its port, by the words of the specification.
fn names(listed: &str, host: &str, port: u16) -> bool {
    let Some(listed) = listed.strip_prefix("network_outbound:") else { return false };
    let (name, open) = listed.split_once(':').unwrap_or((listed, "443"));
    let named = match name.strip_prefix("*.") {
        Some(above) => {
            host.strip_suffix(above).is_some_and(|below| below.len() > 1 && below.ends_with('.'))
        }
        None => host == name,
    };
    named && open == port.to_string()
}

/// What the standard library knows not to be the public internet.
fn plainly_inside(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_broadcast()
                || v4.is_documentation()
                || v4.is_multicast()
                || a == 0
                || (a == 100 && b & 0xc0 == 64)
                || a >= 240
        }
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_multicast()
                || v6.is_unique_local()
                || v6.is_unicast_link_local()
                || v6.to_ipv4().is_some()
                || v6.segments()[..2] == [0x2001, 0x0db8]
        }
    }
}
