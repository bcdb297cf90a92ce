#![doc = include_str!("../README.md")]

mod answer;
mod body;
mod client;
mod dial;
mod error;
mod guard;
mod hop;
mod proxy;
mod server;
mod tls;
mod upload;

// Routes are built with axum itself: hiding it would mean writing it again.
pub use axum;
pub use bytes::Bytes;
pub use http;

pub use answer::{error_answer, json_answer, ndjson_answer};
pub use body::{BodyReader, Lines};
pub use client::Client;
pub use dial::{Limits, Response, exchange_on};
pub use error::{BindError, HttpError};
pub use hop::{is_hop_header, strip_hop_headers};
pub use proxy::{FORWARDED_HEADER, forward};
pub use server::{Server, ServerLimits, bind};
pub use tls::{ClientTls, Roots, ServerTls, TlsError};
pub use upload::Upload;
