use daee_types::DeploymentId;

/// Bytes of the agent's name that a label keeps: with the number behind it a label stays below the 63
/// bytes of DNS.
pub const LABEL_NAME_MAX: usize = 40;

/// The first label of an endpoint's host: the agent's name with dashes for dots, cut, and the
/// deployment's number. It stays the same on every node that the lease goes to.
///
/// Runs of dashes become one, for `xn--` means something else to whoever reads names.
pub fn endpoint_label(agent_name: &str, deployment: DeploymentId) -> String {
    let mut label = String::new();
    for c in agent_name.chars().map(|c| c.to_ascii_lowercase()) {
        let c = if c.is_ascii_alphanumeric() { c } else { '-' };
        if label.len() < LABEL_NAME_MAX && !(c == '-' && (label.is_empty() || label.ends_with('-')))
        {
            label.push(c);
        }
    }
    let name = label.trim_end_matches('-');
    let name = if name.is_empty() { "agent" } else { name };
    format!("{name}-{deployment}")
}

/// The deployment that a label of [`endpoint_label`] names.
pub fn deployment_of_label(label: &str) -> Option<DeploymentId> {
    let (name, number) = label.rsplit_once('-')?;
    let canonical = !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit())
        && (number == "0" || !number.starts_with('0'));
    if name.is_empty() || !canonical {
        return None;
    }
    number.parse().ok()
}

/// The deployment whose endpoint a Host header names, if it stands directly below `zone`. Port and
/// trailing dot do not matter, nor does case.
pub fn deployment_of_host(host: &str, zone: &str) -> Option<DeploymentId> {
    let host = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let label = host.strip_suffix(&zone.to_ascii_lowercase())?.strip_suffix('.')?;
    if label.contains('.') {
        return None;
    }
    deployment_of_label(label)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(host: &str, deployment: Option<u64>) {
        assert_eq!(deployment_of_host(host, "localhost"), deployment.map(DeploymentId), "{host}");
    }

    #[test]
    fn a_label_is_the_name_with_dashes_and_the_number() {
        assert_eq!(endpoint_label("acme.price-oracle", DeploymentId(7)), "acme-price-oracle-7");
        assert_eq!(endpoint_label("xn--a.b", DeploymentId(1)), "xn-a-b-1");
        assert_eq!(endpoint_label("--.-", DeploymentId(1)), "agent-1");
        let longest = endpoint_label(&"a".repeat(128), DeploymentId(u64::MAX));
        assert!(longest.len() <= 63, "{longest}");
    }

    #[test]
    fn a_host_names_the_deployment_below_the_zone_and_nowhere_else() {
        check("acme-oracle-7.localhost", Some(7));
        check("acme-oracle-7.localhost:8080", Some(7));
        check("ACME-oracle-7.LocalHost.", Some(7));
        check("localhost", None);
        check("127.0.0.1:80", None);
        check("[::1]:80", None);
        check("acme-oracle-7.localhost.evil.example", None);
        check("x.acme-oracle-7.localhost", None);
        check("acme-oracle-7evil-localhost", None);
        check("acme-oracle-7xlocalhost", None);
        check("7.localhost", None);
        check("-7.localhost", None);
        check("acme-oracle-07.localhost", None);
        check("acme-oracle-+7.localhost", None);
        check("acme-oracle-99999999999999999999.localhost", None);
    }

    proptest! {
        #[test]
        fn every_label_leads_back(name in "[a-z0-9.-]{0,128}", id in any::<u64>()) {
            let label = endpoint_label(&name, DeploymentId(id));
            prop_assert!(label.len() <= 63);
            prop_assert_eq!(deployment_of_label(&label), Some(DeploymentId(id)));
        }
    }
}
