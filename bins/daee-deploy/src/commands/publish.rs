use std::path::Path;

use daee_client::{ClientError, Handed, Kept, Parcel, Place, hand_out};
use daee_http::{Client, Roots};
use daee_types::Coded as _;
use serde::Serialize;

use crate::{
    access::Access,
    arguments::Places,
    commands::package::Facts,
    failure::{ErrorShown, Failure},
    show::Out,
};

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    facts: Facts,
    published: Vec<String>,
    refused: Vec<String>,
    places: Vec<PlaceShown>,
}

#[derive(Serialize)]
struct PlaceShown {
    kind: &'static str,
    url: String,
    #[serde(flatten)]
    kept: Option<Kept>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorShown>,
}

/// Hands a package to every place that is named, or to the network's nodes where none is.
pub async fn publish(
    out: &Out,
    access: &Access,
    path: &Path,
    places: &Places,
) -> Result<u8, Failure> {
    let parcel = Parcel::read(path)?;
    let mut all = places.named()?;
    let named = !all.is_empty();
    if !named {
        let nodes = access.market().await?.gateways().await?;
        all = nodes.into_iter().map(Place::Node).collect();
    }
    if all.is_empty() {
        return Err(ClientError::NoNodes.into());
    }
    if let Some(file) = parcel.signatures() {
        let what = format!(
            "stay beside the package, in {}: no place takes more than the package",
            file.display()
        );
        out.progress("signatures", &what);
    }
    let http = Client::new(&Roots::system()).map_err(ClientError::from)?;
    let meter = out.meter(all.iter().map(|place| place.name().1.to_owned()).collect());
    let told = meter.clone();
    let on = move |place, progress| told.tell(place, &progress);
    let handed = hand_out(&http, &parcel, &all, &places.origins, &places.patience(), on).await;
    meter.end();
    for place in &handed {
        match &place.outcome {
            Ok(Kept { bytes_sent: 0, .. }) if place.kind != "pin" => {
                out.progress("kept", &format!("{} had all of it already", place.url));
            }
            Ok(_) => out.progress("published", &format!("to {}", place.url)),
            Err(error) => out.progress("refused", &format!("{error} [{}]", error.code())),
        }
    }
    let failed: Vec<&Handed> = handed.iter().filter(|place| place.outcome.is_err()).collect();
    // Nodes give packages to each other: of those that nobody named, one is enough.
    let enough = failed.is_empty() || (!named && failed.len() < handed.len());
    if !enough {
        let options = failed.iter().map(|place| format!(" --{} {}", place.kind, place.url));
        let options = if named { options.collect() } else { String::new() };
        let again = format!("daee-deploy publish {}{options}", path.display());
        let what = format!("`{again}`, once that is mended, goes on where this ended");
        out.progress("again", &what);
    }

    let shown = Shown {
        facts: Facts::of(&parcel),
        published: handed.iter().filter(|p| p.outcome.is_ok()).map(|p| p.url.clone()).collect(),
        refused: handed
            .iter()
            .filter_map(|p| Some(p.outcome.as_ref().err()?.to_string()))
            .collect(),
        places: handed.iter().map(PlaceShown::of).collect(),
    };
    out.result(&shown, |text| {
        text.fact("cid", &shown.facts.cid)?;
        for url in &shown.published {
            text.fact("published", url)?;
        }
        for refusal in &shown.refused {
            text.fact("refused", refusal)?;
        }
        Ok(())
    })?;
    Ok(u8::from(!enough))
}

impl PlaceShown {
    fn of(Handed { kind, url, outcome }: &Handed) -> Self {
        let error = outcome.as_ref().err().map(|error| ErrorShown {
            code: error.code(),
            message: error.to_string(),
            fault: error.fault(),
        });
        Self { kind, url: url.clone(), kept: outcome.as_ref().ok().copied(), error }
    }
}
