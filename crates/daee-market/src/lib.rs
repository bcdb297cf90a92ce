#![doc = include_str!("../README.md")]

mod auction;
mod lease;
mod money;
mod tree;

pub use auction::{BidError, check_bid, late_bid_seconds};
pub use lease::{
    LeaseClock, credit_seconds, credited_seconds, final_open_until, may_finish, may_open_final,
    tail_credit_seconds,
};
pub use money::{
    Due, Penalty, affords, bond, deploy_fee, equivocation_reward, expiry_penalty, minimum_payment,
    pay_due,
};
pub use tree::{AnchorTree, TreeError, anchor_proof, anchor_root, root_of_proof};
