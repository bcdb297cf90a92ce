use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address is one of the public internet's, by the IANA special-purpose registries
/// (RFC 6890 and its successors). Whatever is not plainly public is not.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    // Public by the registries, but inside Azure it is the platform's own metadata server.
    if address == Ipv4Addr::new(168, 63, 129, 16) {
        return false;
    }
    let [a, b, c, _] = address.octets();
    let special = matches!(
        (a, b, c),
        (0 | 10 | 127, _, _)              // this network, private, loopback
            | (100, 64..=127, _)          // carrier-grade NAT
            | (169, 254, _)               // link-local, and the clouds' metadata
            | (172, 16..=31, _)           // private
            | (192, 0, 0 | 2)             // protocol assignments, documentation
            | (192, 31, 196)              // AS112
            | (192, 52, 193)              // AMT
            | (192, 88, 99)               // 6to4 relays
            | (192, 168, _)               // private
            | (192, 175, 48)              // AS112
            | (198, 18 | 19, _)           // benchmarks
            | (198, 51, 100)              // documentation
            | (203, 0, 113)               // documentation
            | (224..=255, _, _) // multicast, reserved, broadcast
    );
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let s = address.segments();
    // Only 2000::/3 is global unicast at all; that leaves out loopback, unspecified, mapped,
    // compatible, NAT64 (64:ff9b::/96, 64:ff9b:1::/48), unique-local, link-local and multicast.
    let global = s[0] & 0xe000 == 0x2000;
    let special = matches!(
        (s[0], s[1]),
        (0x2001, 0x0000..=0x01ff)         // protocol assignments: Teredo, benchmarks, ORCHID
            | (0x2001, 0x0db8)            // documentation
            | (0x2002, _)                 // 6to4
            | (0x2620, 0x004f)            // AS112
            | (0x3fff, 0x0000..=0x0fff) // documentation
    );
    global && !special
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_public() {
        for public in ["1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for not in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.7",
            "100.64.0.1",
            "127.0.0.1",
            "127.8.8.8",
            "169.254.169.254",
            "168.63.129.16",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.7",
            "::ffff:1.1.1.1",
            "::1.1.1.1",
            "64:ff9b::1.1.1.1",
            "64:ff9b:1::1",
            "2001::1",
            "2001:2::1",
            "2001:db8::1",
            "2002:a00:7::1",
            "3fff::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "100::1",
        ] {
            assert!(!is_public(not.parse().unwrap()), "{not}");
        }
    }
}
