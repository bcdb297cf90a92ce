//! The broker beside the vectors that permissions are defined by: what they deny is not dialled.

use std::net::IpAddr;

use daee_egress::{
    Broker as _, Egress, EgressError, EgressRequest, EgressSettings, Resolve, ResolveError, Verdict,
};
use daee_policy::Policy;
use daee_types::{Coded as _, DeploymentId};
use serde_json::Value;

struct Answer(Vec<IpAddr>);

impl Resolve for Answer {
    async fn resolve(&self, _: &str) -> Result<Vec<IpAddr>, ResolveError> {
        Ok(self.0.clone())
    }
}

#[tokio::test]
async fn what_the_vectors_deny_is_denied_by_the_broker_with_the_same_code() {
    let vectors: Value =
        serde_json::from_str(include_str!("../../daee-policy/vectors/permissions.json")).unwrap();
    let mut denied = 0;
    for vector in vectors["connections"].as_array().unwrap() {
        let texts = |key: &str| -> Vec<&str> {
            let all = vector[key].as_array().map(Vec::as_slice).unwrap_or_default();
            all.iter().map(|one| one.as_str().unwrap()).collect()
        };
        let ips = |key: &str| texts(key).iter().map(|ip| ip.parse().unwrap()).collect();
        let lines = texts("permissions").into_iter().map(|line| (line.parse().unwrap(), 1));
        let permit = Policy::new(lines.collect()).url(vector["url"].as_str().unwrap());
        // Where the URL is denied there is no permit, and nothing to hand to a broker. What is allowed
        // leads into the internet, where no test goes.
        let (Ok(permit), Some(code)) = (permit, vector["denied"].as_str()) else { continue };
        let settings = EgressSettings { own_addresses: ips("own"), ..EgressSettings::default() };
        let egress = Egress::new(settings, Answer(ips("resolved"))).unwrap();
        let exchanged = egress.exchange(DeploymentId(7), permit, EgressRequest::get()).await;
        assert_eq!(exchanged.decision.verdict, Verdict::Denied, "{vector}");
        match exchanged.answer {
            Err(EgressError::Denied(denial)) => assert_eq!(denial.code(), code, "{vector}"),
            other => panic!("{vector}: {other:?}"),
        }
        denied += 1;
    }
    assert!(denied > 30, "{denied} were denied");
}
