use std::collections::{BTreeMap, BTreeSet};

use daee_manifest::{Durability, Endpoint, Manifest, Schedule, Span};
use daee_policy::Permission;
use daee_types::Timestamp;
use serde_json::Value;

use crate::{Group, Level, Report, Verdict, permission, rule};

/// Wakes that are looked at to say which of two schedules comes more often.
const WAKES_MAX: u32 = 1_500;
/// 2024-01-01, the start of a leap year, and a year later.
const YEAR: (u64, u64) = (1_704_067_200_000, 1_735_689_600_000);

/// Judges the upgrade from one manifest or package to another, both judged before. What it widens, and
/// what of the new one is wrong, is in the report; so is what of the old one keeps it from being
/// compared.
pub fn upgrade(old: &Report, new: Report) -> Report {
    let mut report = Report { kind: Group::Upgrade, ..new };
    for finding in old.findings.iter().filter(|finding| finding.level == Level::Error) {
        let place = finding.place.map(|place| format!(":{}:{}", place.line, place.column));
        let place = place.unwrap_or_default();
        let message = format!("{}{place}: {}", old.subject, finding.message);
        report.say(finding.rule, None, message);
    }
    if old.verdict() == Verdict::Error {
        report.fail(format_args!("{}: there is nothing to compare with", old.subject));
    }
    let (Some(old), Some(new)) = (&old.manifest, report.manifest.take()) else { return report };
    report.facts.push(("old_agent_id", old.agent_id().to_string()));
    Upgrade { old, new: &new, report: &mut report }.judge();
    report.manifest = Some(new);
    report
}

struct Upgrade<'a> {
    old: &'a Manifest,
    new: &'a Manifest,
    report: &'a mut Report,
}

impl Upgrade<'_> {
    fn judge(&mut self) {
        if self.old.manifest_hash() == self.new.manifest_hash() {
            return self.say("DAEE-W003", None, "nothing changed: both are the same, to the hash");
        }
        self.identity();
        self.permissions();
        self.resources();
        self.behaviour();
        self.environment();
        self.promises();
    }

    fn identity(&mut self) {
        let (old, new) = (self.old.agent_id(), self.new.agent_id());
        let version = |text: String| semver::Version::parse(&text).ok();
        if old.name() != new.name() {
            let message = format!("{} is another agent than {}", new.name(), old.name());
            self.say("DAEE-W001", Some("agent_id"), message);
        } else if let (Some(from), Some(to)) = (version(old.version()), version(new.version()))
            && to.cmp_precedence(&from).is_le()
        {
            let message = format!("something changed, and {to} is not higher than {from}");
            self.say("DAEE-W002", Some("agent_id"), message);
        }
    }

    fn permissions(&mut self) {
        let (old, new) = (self.old.permissions(), self.new.permissions());
        let old: Vec<&Permission> = old.iter().map(|listed| &listed.permission).collect();
        let new: Vec<&Permission> = new.iter().map(|listed| &listed.permission).collect();
        for (at, wanted) in new.iter().enumerate() {
            if !old.iter().any(|had| permission::covers(had, wanted)) {
                let rule_id = widened(&old, wanted);
                let says = rule(rule_id).map_or("new", |rule| rule.says);
                self.say(rule_id, Some(&format!("permissions[{at}]")), format!("{wanted}: {says}"));
            }
        }
        for had in old {
            if !new.iter().any(|wanted| permission::covers(wanted, had)) {
                let message = format!("{had} is gone, or narrower");
                self.say("DAEE-W040", Some("permissions"), message);
            }
        }
    }

    fn resources(&mut self) {
        let (old, new) = (self.old.resources(), self.new.resources());
        let storage = (self.old.storage(), self.new.storage());
        let mut more = |rule, field: &str, raised: bool, from: String, to: String| {
            if raised {
                let message = format!("{field} goes from {from} to {to}");
                self.say(rule, Some(&format!("resources.{field}")), message);
            }
        };
        let shown = |value: &dyn std::fmt::Display| value.to_string();
        more("DAEE-W020", "cpu", new.cpu > old.cpu, shown(&old.cpu), shown(&new.cpu));
        more(
            "DAEE-W021",
            "memory",
            new.memory > old.memory,
            shown(&old.memory),
            shown(&new.memory),
        );
        more("DAEE-W022", "gpu", new.gpu > old.gpu, shown(&old.gpu), shown(&new.gpu));
        let (from, to) = storage;
        more("DAEE-W023", "storage", to > from, shown(&from), shown(&to));
    }

    fn behaviour(&mut self) {
        let (old, new) = (self.old, self.new);
        if old.endpoint() == Endpoint::Private && new.endpoint() == Endpoint::Public {
            let message = "anyone may call it now: the endpoint was private";
            self.say("DAEE-W024", Some("endpoint"), message);
        }
        if waits_for(new.durability()) < waits_for(old.durability()) {
            let message = "an answer waits for less than before, so more of it may be forgotten";
            self.say("DAEE-W025", Some("durability"), message);
        }
        if old.run() != new.run() {
            let message = "it is entered in another way, and its memory is lost with the upgrade";
            self.say("DAEE-W026", Some("run"), message);
        }
        let often = |schedule: Option<&Schedule>| schedule.map_or((0, 0), wakes);
        if often(new.schedule()) > often(old.schedule()) {
            let message = "the schedule wakes it more often than before";
            self.say("DAEE-W027", Some("schedule"), message);
        }
    }

    fn environment(&mut self) {
        let (old, new) = (self.old, self.new);
        for (at, secret) in new.secrets().iter().enumerate() {
            if !old.secrets().contains(secret) {
                let message = format!("it may use the secret {secret}, and could not before");
                self.say("DAEE-W028", Some(&format!("secrets[{at}]")), message);
            }
        }
        let had: BTreeMap<&str, &str> =
            old.env().iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        for (name, value) in new.env() {
            let message = match had.get(name.as_str()) {
                Some(before) if before == value => continue,
                Some(_) => format!("{name} has another value"),
                None => format!("{name} is new"),
            };
            self.say("DAEE-W029", Some(&format!("env.{name}")), message);
        }
        if old.args() != new.args() {
            self.say("DAEE-W030", Some("args"), "the arguments are others");
        }
    }

    fn promises(&mut self) {
        let (old, new) = (body(self.old), body(self.new));
        for time in ["heartbeat", "grace"] {
            let seconds = |body: &Value| {
                let text = body["sla"][time].as_str()?;
                text.strip_suffix('s')?.parse::<u64>().ok()
            };
            let (before, now) = (seconds(&old), seconds(&new));
            if before.is_some_and(|before| now.is_none_or(|now| now > before)) {
                let message = format!("{time} may take longer than before");
                self.say("DAEE-W031", Some(&format!("sla.{time}")), message);
            }
        }
        let followed: BTreeSet<&String> = self.new.compliance().iter().collect();
        for tip in self.old.compliance().iter().filter(|tip| !followed.contains(tip)) {
            self.say("DAEE-W032", Some("compliance"), format!("it follows {tip} no more"));
        }
        for skill in old["a2a"].as_object().into_iter().flatten().map(|(name, _)| name) {
            if new["a2a"].get(skill).is_none() {
                let message = format!("the skill {skill} is shown no more");
                self.say("DAEE-W033", Some("a2a"), message);
            }
        }
    }

    /// About a field of the new manifest; about the whole, if it is not there any more.
    fn say(&mut self, rule: &'static str, field: Option<&str>, message: impl Into<String>) {
        let place: Option<Span> = field.and_then(|field| self.new.span(field));
        self.report.say(rule, place, message);
    }
}

/// The rule that a permission breaks which none of the old ones covers.
fn widened(old: &[&Permission], new: &Permission) -> &'static str {
    match new {
        Permission::NetworkOutbound { .. } => {
            let on_any_port = old.iter().any(|had| permission::covers_host(had, new));
            let star = new.to_string().contains('*');
            match (on_any_port, star) {
                (true, _) => "DAEE-W011",
                (false, true) => "DAEE-W012",
                (false, false) => "DAEE-W010",
            }
        }
        Permission::NetworkOutboundIp { .. } => "DAEE-W013",
        Permission::ReadIpfs => "DAEE-W014",
        Permission::WriteIpfs => "DAEE-W015",
        Permission::PublishToChain => "DAEE-W016",
        Permission::CallAgent(_) => "DAEE-W017",
        Permission::Deploy(_) => "DAEE-W018",
        Permission::Manage(_) => "DAEE-W019",
    }
}

fn waits_for(durability: Durability) -> u8 {
    match durability {
        Durability::Checkpoint => 0,
        Durability::Local => 1,
        Durability::Turn => 2,
    }
}

/// How often a schedule wakes within a year, as far as it is counted, and how early that many are over.
fn wakes(schedule: &Schedule) -> (u32, u64) {
    let (mut count, mut at) = (0, YEAR.0);
    while count < WAKES_MAX {
        match schedule.next_after(Timestamp(at)) {
            Some(Timestamp(next)) if next < YEAR.1 => (count, at) = (count + 1, next),
            _ => break,
        }
    }
    (count, YEAR.1 - at)
}

fn body(manifest: &Manifest) -> Value {
    serde_json::from_str(manifest.canonical_body()).unwrap_or_default()
}
