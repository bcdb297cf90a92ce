pub mod call;
pub mod end;
pub mod look;
pub mod new;
pub mod package;
pub mod up;
