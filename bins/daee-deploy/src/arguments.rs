use std::{path::PathBuf, time::Duration};

use clap::{
    Args, Parser, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};
use daee_client::{Authorization, Offer, Patience, Place, Windows};
use daee_types::{Address, AmountError, DeploymentId, Rate, TokenAmount};

use crate::{
    access::{Access, secret},
    commands::new::{TEMPLATES, Template},
    failure::Failure,
};

/// Deploy and manage agents.
///
/// The key comes from `--key`, the network from `--network`, or both from `--dir`, the folder of
/// `daee-node dev`; DAEE_KEY and DAEE_NETWORK name the files where no option does. Exit codes: 0 done,
/// 1 the answer is no, 2 could not run.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub access: Access,
    /// One JSON object on standard output; with `logs --follow` one line of JSON each
    #[arg(long, global = true)]
    pub json: bool,
    /// No progress on standard error
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write an agent to begin with, which builds and runs
    New {
        /// A new or an empty folder
        #[arg(default_value = ".", value_name = "PATH")]
        path: PathBuf,
        /// What the agent is written in
        #[arg(long, short, value_parser = template())]
        language: &'static Template,
        /// Its name, as in talos.example.hello; made from the folder's if left out
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
    },
    /// Write the artifact's hash and CID into agent.yaml, and both into one .car file
    Pack {
        #[command(flatten)]
        package: PackagePath,
        /// Where the .car file goes; beside the module if left out
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Put the files of this folder into the module first, which agents find under /app
        #[arg(long, value_name = "DIR")]
        files: Option<PathBuf>,
    },
    /// Judge a folder or .car file as nodes do, and change nothing
    Check {
        #[command(flatten)]
        package: PackagePath,
        /// Levels of rules, signers and bounds, as TOML, as `daee-verify` takes them
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
    },
    /// Hand a package to nodes, Kubo and pinning services, and compare the CIDs that come back
    Publish {
        #[command(flatten)]
        package: PackagePath,
        #[command(flatten)]
        places: Places,
    },
    /// Publish, pay, wait for a node to run it, and print its endpoint
    Up {
        #[command(flatten)]
        package: PackagePath,
        #[command(flatten)]
        price: Price,
        #[command(flatten)]
        nodes: Nodes,
        #[command(flatten)]
        wait: Wait,
    },
    /// Sign a package for whoever wants to know who published it
    Sign(Signing),
    /// Make keys, and see whose they are
    Key {
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// Where an agent is in its life, what it costs, and where it answers
    Status {
        /// The deployment's number
        id: DeploymentId,
    },
    /// What an agent logged
    Logs {
        /// The deployment's number
        id: DeploymentId,
        /// Lines after the one with this number
        #[arg(long, value_name = "SEQ")]
        after: Option<u64>,
        /// At most so many lines
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
        /// Stay and print lines as they are written
        #[arg(long, short)]
        follow: bool,
    },
    /// Fetch turns of an agent with all that `daee-verify run` needs to run them again
    Record {
        /// The deployment's number
        id: DeploymentId,
        /// So that this turn is among them; as in a line of the log. From the first that is kept if left out
        #[arg(long, value_name = "TURN")]
        from: Option<u64>,
        /// So that this turn is among them; up to now if left out
        #[arg(long, value_name = "TURN")]
        to: Option<u64>,
        /// The new file; deployment-ID.run here if left out
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Send a request to an agent's endpoint
    Call(Call),
    /// End a deployment, wait for its final checkpoint, and say what came back
    Stop {
        /// The deployment's number
        id: DeploymentId,
        #[command(flatten)]
        wait: Wait,
    },
    /// Publish a new version and have the node move to it
    Update {
        /// The deployment's number
        id: DeploymentId,
        #[command(flatten)]
        package: PackagePath,
        #[command(flatten)]
        nodes: Nodes,
        #[command(flatten)]
        wait: Wait,
    },
    /// Pay more into a deployment
    Topup {
        /// The deployment's number
        id: DeploymentId,
        /// In TALOS, as in 12.5
        amount: TokenAmount,
    },
    /// Take out what deployments owe to this wallet
    Withdraw {
        /// Where it goes; to this wallet if left out
        #[arg(long, value_name = "ADDRESS")]
        to: Option<Address>,
    },
    /// Deployments of this wallet
    List {
        /// Of another owner
        #[arg(long, value_name = "ADDRESS", conflicts_with = "all")]
        owner: Option<Address>,
        /// Of everybody
        #[arg(long)]
        all: bool,
        /// Those that are over, too
        #[arg(long)]
        closed: bool,
    },
}

#[derive(Args, Debug)]
pub struct PackagePath {
    /// The folder of the agent, its agent.yaml, or a .car file
    #[arg(default_value = ".", value_name = "PATH")]
    pub path: PathBuf,
}

#[derive(Args, Debug)]
pub struct Signing {
    #[command(flatten)]
    pub package: PackagePath,
    /// Where the signatures go; agent.sig.json in the folder, or beside the package, if left out
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// The chain that it is signed for, with --contract; else that of the file, else the network's
    #[arg(long, value_name = "N", requires = "contract")]
    pub chain_id: Option<u64>,
    /// The manager contract that it is signed for
    #[arg(long, value_name = "ADDRESS", requires = "chain_id")]
    pub contract: Option<Address>,
    /// Give the wallet's key up for the one in this file, and sign with that
    #[arg(long, value_name = "FILE")]
    pub rotate_to: Option<PathBuf>,
    /// The password of that one; asked for at the terminal if left out
    #[arg(long, value_name = "FILE", requires = "rotate_to")]
    pub new_password_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Write a new key to a keystore under a password, and print its address
    New {
        /// The new file
        #[arg(value_name = "KEYSTORE")]
        file: PathBuf,
        /// Take the key in this file instead of a new one; a keystore's password is asked for
        #[arg(long, value_name = "FILE")]
        from: Option<PathBuf>,
    },
    /// Print the address of the wallet's key
    Address,
}

#[derive(Args, Debug)]
pub struct Nodes {
    /// Base URL of a node to publish to; several times for several, instead of the network file's
    #[arg(long = "node", value_name = "URL")]
    pub nodes: Vec<String>,
}

/// What DAEE_PIN_TOKEN and DAEE_KUBO_AUTH hold is never an argument, which other users of a machine see.
#[derive(Args, Debug)]
pub struct Places {
    /// Base URL of a node; several times for several. Without any place: the network's nodes
    #[arg(long = "node", value_name = "URL")]
    nodes: Vec<String>,
    /// Base URL of a Kubo-style RPC, as in http://127.0.0.1:5001; several times for several
    #[arg(long = "kubo", value_name = "URL")]
    kubos: Vec<String>,
    /// A file with `bearer:TOKEN` or `basic:USER:PASSWORD` for the RPC [env: DAEE_KUBO_AUTH has the text]
    #[arg(long, value_name = "FILE", requires = "kubos")]
    kubo_auth_file: Option<PathBuf>,
    /// URL of a service with the pinning service API; several times for several
    #[arg(long = "pin", value_name = "URL")]
    services: Vec<String>,
    /// A file with the service's token [env: DAEE_PIN_TOKEN has the token]
    #[arg(long, value_name = "FILE", requires = "services")]
    pin_token_file: Option<PathBuf>,
    /// Multiaddr of a peer from which a service can fetch it, besides each `--kubo`; several times for several
    #[arg(long = "origin", value_name = "ADDRESS")]
    pub origins: Vec<String>,
    /// How often a place is tried while the network is in the way
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    attempts: u32,
    /// Seconds that a service has to fetch it
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pin_wait: u64,
}

impl Places {
    /// Those that are named, with what opens them.
    pub fn named(&self) -> Result<Vec<Place>, Failure> {
        // A secret is of one place: a second one would learn it.
        let one_each = |urls: &[String], option: &str| match urls.len() {
            0 | 1 => Ok(()),
            _ => Err(Failure::usage(&format!(
                "one secret opens one place: name one `{option}` at a time, and run it once for each"
            ))),
        };
        let mut places: Vec<Place> = self.nodes.iter().cloned().map(Place::Node).collect();
        if !self.kubos.is_empty() {
            let secret = secret(self.kubo_auth_file.as_deref(), "DAEE_KUBO_AUTH")?;
            if secret.is_some() {
                one_each(&self.kubos, "--kubo")?;
            }
            let read = secret.map(|text| Authorization::read(&text)).transpose();
            let authorization = read.map_err(Failure::could_not)?;
            let kubo = |url: &String| Place::Kubo {
                url: url.clone(),
                authorization: authorization.clone(),
            };
            places.extend(self.kubos.iter().map(kubo));
        }
        if !self.services.is_empty() {
            one_each(&self.services, "--pin")?;
            let token = secret(self.pin_token_file.as_deref(), "DAEE_PIN_TOKEN")?;
            let token = token.ok_or_else(|| {
                Failure::usage(
                    "which token? set DAEE_PIN_TOKEN, or name a file that has it with \
                     `--pin-token-file FILE`",
                )
            })?;
            let token = Authorization::bearer(&token).map_err(Failure::could_not)?;
            let service = |url: &String| Place::Pinning { url: url.clone(), token: token.clone() };
            places.extend(self.services.iter().map(service));
        }
        Ok(places)
    }

    pub fn patience(&self) -> Patience {
        let pin_time = Duration::from_secs(self.pin_wait);
        Patience { attempts_max: self.attempts, pin_time, ..Patience::default() }
    }
}

#[derive(Args, Debug)]
pub struct Price {
    /// The most that a node may ask for, in TALOS an hour
    #[arg(long, value_name = "TALOS", value_parser = rate)]
    max_rate: Rate,
    /// What is paid in, in TALOS; a day at the highest rate if left out
    #[arg(long, value_name = "TALOS")]
    pay: Option<TokenAmount>,
    /// Seconds for bids
    #[arg(long, value_name = "SECONDS")]
    bid_window: Option<u32>,
    /// Seconds from the award to the first checkpoint on chain
    #[arg(long, value_name = "SECONDS")]
    start_window: Option<u32>,
    /// Seconds between two proofs of the node that it runs, at most
    #[arg(long, value_name = "SECONDS")]
    interval: Option<u32>,
    /// Seconds of silence beyond the interval before the lease may be ended
    #[arg(long, value_name = "SECONDS")]
    grace: Option<u32>,
    /// Seconds for the final checkpoint after the end
    #[arg(long, value_name = "SECONDS")]
    open_window: Option<u32>,
}

impl Price {
    /// With the network's windows where none is given.
    pub fn offer(&self, network: Windows) -> Offer {
        const DAY_SECONDS: u64 = 24 * 60 * 60;
        let day = self.max_rate.over_seconds(DAY_SECONDS).unwrap_or(TokenAmount(u128::MAX));
        Offer {
            rate_max: self.max_rate,
            payment: self.pay.unwrap_or(day),
            windows: Windows {
                bid: self.bid_window.unwrap_or(network.bid),
                start: self.start_window.unwrap_or(network.start),
                interval: self.interval.unwrap_or(network.interval),
                grace: self.grace.unwrap_or(network.grace),
                open: self.open_window.unwrap_or(network.open),
            },
        }
    }
}

#[derive(Args, Debug)]
pub struct Wait {
    /// Seconds to wait; as long as the deployment's windows allow if left out, 0 not at all
    #[arg(long, value_name = "SECONDS")]
    pub wait: Option<u64>,
}

#[derive(Args, Debug)]
pub struct Call {
    /// The deployment's number
    pub id: DeploymentId,
    /// Path and query
    #[arg(default_value = "/")]
    pub path: String,
    /// The method; POST where there is a body, else GET
    #[arg(long, short = 'X')]
    pub method: Option<String>,
    /// A header, as in "accept: text/plain"; several times for several
    #[arg(long, short = 'H', value_name = "NAME: VALUE", value_parser = header)]
    pub header: Vec<(String, String)>,
    /// The body, or @FILE for a file's content
    #[arg(long, short, value_name = "TEXT")]
    pub data: Option<String>,
    /// Print status and headers before the body
    #[arg(long, short)]
    pub include: bool,
}

fn template() -> impl TypedValueParser<Value = &'static Template> {
    let languages = TEMPLATES.iter().map(|template| template.language);
    PossibleValuesParser::new(languages).map(|language| {
        let same = |template: &&Template| template.language == language;
        TEMPLATES.iter().find(same).expect("only languages of the list are possible")
    })
}

/// Rounded up to the second as bids are, so that who asks for just as much may have it.
fn rate(text: &str) -> Result<Rate, AmountError> {
    let shown = || AmountError::TooLarge(text.to_owned());
    Rate::per_hour(text.parse()?).ok_or_else(shown)
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write it as in `accept: text/plain`")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}
