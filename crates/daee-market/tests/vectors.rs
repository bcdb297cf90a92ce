//! The rules say what the vectors say; the forge tests hold the contracts to the same files.

use daee_market::{
    AnchorTree, BidError, LeaseClock, bond, check_bid, credit_seconds, credited_seconds,
    deploy_fee, expiry_penalty, late_bid_seconds, may_finish, may_open_final, minimum_payment,
    pay_due, root_of_proof, tail_credit_seconds,
};
use daee_types::{Coded as _, DeploymentId, LeafHash, Rate, Timestamp, TokenAmount, TxHash, Word};
use serde_json::Value;

#[test]
fn a_tree_has_the_root_and_the_proofs_of_the_vectors() {
    each(include_str!("../vectors/anchor-tree.json"), |row| {
        let deployments = row.list("deployments").into_iter().map(|id| DeploymentId(parse(&id)));
        let leaves = row.list("leafHashes").into_iter().map(|hash| parse::<LeafHash>(&hash));
        let tree = AnchorTree::new(deployments.zip(leaves)).unwrap();
        let (deployment, leaf) =
            (DeploymentId(row.number("deployment")), parse(&row.text("leafHash")));
        let proof: Vec<Word> = row.list("proof").iter().map(|text| word(text)).collect();
        let root = word(&row.text("root"));
        assert_eq!(tree.root(), root);
        assert_eq!(tree.leaves()[row.number("index") as usize], (deployment, leaf));
        assert_eq!(tree.proof(deployment), Some(proof.clone()));
        assert_eq!(root_of_proof(deployment, leaf, &proof), Some(root));
    });
}

#[test]
fn a_bond_is_a_day_at_the_highest_rate_and_never_below_the_minimum() {
    each(include_str!("../vectors/bond.json"), |row| {
        assert_eq!(bond(row.rate("rateMax"), row.amount("minBond")), Some(row.amount("bond")));
    });
}

#[test]
fn a_deployment_brings_the_fee_and_its_runway() {
    each(include_str!("../vectors/minimum-payment.json"), |row| {
        let (bytes, fee) = (row.number("artifactBytes") as u32, row.amount("feePerByte"));
        let runway = row.number("minRunway") as u32;
        assert_eq!(deploy_fee(bytes, fee), Some(row.amount("fee")));
        let minimum = minimum_payment(bytes, fee, row.rate("rateMax"), runway);
        assert_eq!(minimum, Some(row.amount("minimum")));
    });
}

#[test]
fn a_bid_is_taken_only_below_the_maximum_and_a_hundredth_below_the_best() {
    each(include_str!("../vectors/best-bid.json"), |row| {
        let standing = Some(row.rate("standing")).filter(|rate| rate.0 > 0);
        let (name, limit) = match check_bid(row.rate("rate"), row.rate("rateMax"), standing) {
            Ok(()) => ("", Rate(0)),
            Err(BidError::OutOfRange { maximum, .. }) => ("RateAboveMaximum", maximum),
            Err(BidError::NotBetter { most, .. }) => ("NotBetter", most),
        };
        assert_eq!((name, limit), (row.text("refused").as_str(), row.rate("limit")));
    });
}

#[test]
fn late_bids_extend_a_window_at_most_once_over() {
    each(include_str!("../vectors/late-bid.json"), |row| {
        let (now, closes) = (row.time("now"), row.time("bidsClose"));
        let window = row.number("bidWindow") as u32;
        let more = late_bid_seconds(now, closes, row.number("bidsExtended"), window);
        assert_eq!(more, row.number("more"));
    });
}

#[test]
fn an_anchor_credits_the_gap_and_never_more_than_the_interval() {
    each(include_str!("../vectors/credit.json"), |row| {
        let interval = row.number("interval") as u32;
        let credit = credit_seconds(row.time_if("lastAnchor"), row.time("now"), interval);
        assert_eq!(credit, row.number("credit"));
        // The tail of a lease is credited by the same measure, up to its end.
        if let Some(last) = row.time_if("lastAnchor") {
            assert_eq!(tail_credit_seconds(last, row.time("now"), interval), credit);
        }
    });
}

#[test]
fn a_lease_is_credited_only_what_came_after_its_first_leaf() {
    each(include_str!("../vectors/credited.json"), |row| {
        let credited =
            credited_seconds(row.flag("started"), row.number("counted"), row.number("base"));
        assert_eq!(credited, row.number("credited"));
    });
}

#[test]
fn pay_never_exceeds_what_is_left() {
    each(include_str!("../vectors/pay.json"), |row| {
        let due = pay_due(row.rate("rate"), row.number("unpaid"), row.amount("balance"));
        assert_eq!((due.amount, due.exhausted), (row.amount("amount"), row.flag("exhausted")));
    });
}

#[test]
fn a_lease_expires_only_after_its_window_or_its_grace() {
    each(include_str!("../vectors/expiry.json"), |row| {
        let clock = LeaseClock {
            assigned_at: row.time("assignedAt"),
            started_at: row.time_if("startedAt"),
            last_anchor: row.time("lastAnchor"),
            start_window_seconds: row.number("startWindow") as u32,
            interval_seconds: row.number("interval") as u32,
            grace_seconds: row.number("grace") as u32,
        };
        let after = row.time("expiresAfter");
        assert_eq!(clock.expires_after(), after);
        assert!(!clock.has_expired(after));
        // Our clock is finer than a block's: within the last second it is still too early.
        assert!(!clock.has_expired(after.plus_millis(999)));
        assert!(clock.has_expired(after.plus_millis(1000)));
    });
}

#[test]
fn a_failed_start_pays_nobody_a_bounty() {
    each(include_str!("../vectors/penalty.json"), |row| {
        let penalty = expiry_penalty(row.amount("bond"), row.flag("started"));
        assert_eq!((penalty.cut, penalty.bounty), (row.amount("cut"), row.amount("bounty")));
    });
}

#[test]
fn a_closing_lease_is_finished_only_when_nothing_is_waited_for() {
    each(include_str!("../vectors/closing.json"), |row| {
        let (started, open) = (row.number("startedAt") != 0, row.flag("finalOpen"));
        let (now, end) = (row.time("now"), row.time("endTime"));
        let may = may_finish(started, open, now, end, row.number("openWindow") as u32);
        assert_eq!(may, row.flag("mayFinish"));
    });
}

#[test]
fn no_leaf_is_opened_after_the_window() {
    each(include_str!("../vectors/final-leaf.json"), |row| {
        let (anchored, now, end) = (row.time("anchored"), row.time("now"), row.time("endTime"));
        let may = may_open_final(anchored, now, end, row.number("openWindow") as u32);
        assert_eq!(may, row.flag("mayOpen"));
    });
}

#[test]
fn every_file_of_vectors_is_read_here() {
    let mut files = 0;
    for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/vectors")).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".json") {
            assert!(include_str!("vectors.rs").contains(&format!("vectors/{name}\"")), "{name}");
            files += 1;
        }
    }
    assert_eq!(files, 12);
}

#[test]
fn two_leaves_of_one_deployment_are_refused() {
    let leaf = |byte| (DeploymentId(3), LeafHash::new([byte; 32]));
    let error = AnchorTree::new([leaf(1), leaf(2)]).unwrap_err();
    assert_eq!(
        (error.code(), error.to_string().as_str()),
        ("DAEE-K010", "deployment 3 has two leaves in one tree")
    );
}

fn each(file: &str, mut check: impl FnMut(Row<'_>)) {
    let rows: Vec<Value> = serde_json::from_str(file).unwrap();
    assert!(rows.len() > 4, "only {} cases", rows.len());
    for row in &rows {
        println!("{row}"); // shown when the case fails
        check(Row(row));
    }
}

struct Row<'a>(&'a Value);

impl Row<'_> {
    fn text(&self, name: &str) -> String {
        self.0[name].as_str().unwrap_or_else(|| panic!("no {name}")).to_owned()
    }
    fn list(&self, name: &str) -> Vec<String> {
        serde_json::from_value(self.0[name].clone()).unwrap()
    }
    fn number(&self, name: &str) -> u64 {
        parse(&self.text(name))
    }
    fn amount(&self, name: &str) -> TokenAmount {
        TokenAmount(parse(&self.text(name)))
    }
    fn rate(&self, name: &str) -> Rate {
        Rate(parse(&self.text(name)))
    }
    fn time(&self, name: &str) -> Timestamp {
        Timestamp::from_seconds(self.number(name))
    }
    fn time_if(&self, name: &str) -> Option<Timestamp> {
        Some(self.time(name)).filter(|time| time.0 > 0)
    }
    fn flag(&self, name: &str) -> bool {
        parse(&self.text(name))
    }
}

fn parse<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

fn word(text: &str) -> Word {
    *parse::<TxHash>(text).as_bytes()
}
