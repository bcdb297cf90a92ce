use std::fs;

use daee_client::{Call as Request, ClientError};
use daee_http::{Bytes, http::Method};
use serde::Serialize;

use crate::{access::Access, arguments::Call, failure::Failure, show::Out};

/// 0 where the agent answered with a status below 400, 1 for any other answer.
pub async fn call(out: &Out, access: &Access, call: &Call) -> Result<u8, Failure> {
    #[derive(Serialize)]
    struct Shown<'a> {
        status: u16,
        headers: Vec<(&'a str, String)>,
        /// The body where it is text.
        body: Option<&'a str>,
        /// Its bytes in hex where it is not.
        #[serde(skip_serializing_if = "Option::is_none")]
        body_hex: Option<String>,
    }
    let request = request(call)?;
    let wallet = access.wallet()?;
    let market = access.market().await?;
    let deployment = market.deployment(call.id).await?;
    let standing = market.standing(call.id).await?;
    let Some(endpoint) = standing.status.endpoint else {
        return Err(ClientError::NoLease { id: call.id, phase: deployment.phase }.into());
    };
    let mut node = market.holder(&deployment).await?;
    if let Some(wallet) = wallet {
        node = market.deployer(wallet).signed_in(node, deployment.lease.node);
    }
    let answer = node.call(&endpoint, &request).await?;
    let failed = answer.status.as_u16() >= 400;
    if out.is_json() {
        let headers = answer.headers.iter().map(|(name, value)| {
            (name.as_str(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        });
        let body = std::str::from_utf8(&answer.body).ok();
        let hex = || answer.body.iter().map(|byte| format!("{byte:02x}")).collect();
        let shown = Shown {
            status: answer.status.as_u16(),
            headers: headers.collect(),
            body,
            body_hex: body.is_none().then(hex),
        };
        out.result(&shown, |_| Ok(()))?;
        return Ok(u8::from(failed));
    }
    if call.include {
        out.result(&(), |text| {
            text.line(&answer.status.to_string())?;
            for (name, value) in &answer.headers {
                text.fact(name.as_str(), String::from_utf8_lossy(value.as_bytes()))?;
            }
            text.line("")
        })?;
    } else if failed {
        out.progress("answered", &answer.status.to_string());
    }
    out.raw(&answer.body)?;
    Ok(u8::from(failed))
}

fn request(call: &Call) -> Result<Request, Failure> {
    let body = match call.data.as_deref().map(|data| (data.strip_prefix('@'), data)) {
        None => Bytes::new(),
        Some((Some(file), _)) => {
            let why = |error| Failure::usage(&format!("{file} cannot be read: {error}"));
            fs::read(file).map_err(why)?.into()
        }
        Some((None, text)) => Bytes::copy_from_slice(text.as_bytes()),
    };
    let method = match &call.method {
        Some(method) => method
            .to_uppercase()
            .parse()
            .map_err(|_| Failure::usage(&format!("{method:?} is not a method, as GET is")))?,
        None if call.data.is_some() => Method::POST,
        None => Method::GET,
    };
    Ok(Request { method, path: call.path.clone(), headers: call.header.clone(), body })
}
