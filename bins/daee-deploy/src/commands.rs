pub mod call;
pub mod end;
pub mod look;
pub mod package;
pub mod up;
