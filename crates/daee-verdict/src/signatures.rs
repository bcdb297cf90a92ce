use daee_signer::publisher::{SignatureFile, Signed, Trust};
use daee_types::{Address, Domain};

use crate::{Finding, Report};

/// Whose signatures a package needs.
#[derive(Clone, Debug)]
pub struct Signers {
    /// Whose signatures count, and how many of them it takes.
    pub trust: Trust,
    /// The market they have to be for, where it matters.
    pub domain: Option<Domain>,
}

impl Report {
    /// Judges who signed what this report is about: a package, or a manifest beside its artifact. `file`
    /// holds the bytes of the signature file, if there is one; those over the limit may be left out but
    /// for one.
    pub fn judge_signatures(&mut self, file: Option<&[u8]>, asked: Option<&Signers>) {
        let Some(bytes) = file else {
            if asked.is_some() {
                let message = "the policy asks for signatures, and there is no signature file";
                self.say("DAEE-V015", None, message);
            }
            return;
        };
        let file = match SignatureFile::read(bytes) {
            Ok(file) => file,
            Err(error) => {
                self.findings.push(Finding::of(&error));
                return;
            }
        };
        let Some(statement) = self.statement() else {
            self.fail(
                "what was signed cannot be compared: manifest and artifact are not both known",
            );
            return;
        };
        match asked {
            Some(Signers { trust, domain }) => {
                match file.judge(&statement, domain.as_ref(), trust) {
                    Ok(signed) => self.signed(&signed),
                    Err(problems) => self.findings.extend(problems.iter().map(Finding::of)),
                }
            }
            None => {
                // Nobody says whom to trust: it is told who signed, and whether they did.
                match Trust::new(file.signers(), 1, Vec::new()) {
                    Ok(trust) => match file.judge(&statement, None, &trust) {
                        Ok(signed) => self.signed(&signed),
                        Err(problems) => self.findings.extend(problems.iter().map(Finding::of)),
                    },
                    Err(_) => {
                        self.say(
                            "DAEE-V015",
                            None,
                            "nobody signed: the file holds no right signature",
                        );
                    }
                }
                let message = "nothing says whose signatures count: name the signers in a policy";
                self.say("DAEE-V016", None, message);
            }
        }
    }

    fn signed(&mut self, signed: &Signed) {
        let by: Vec<String> = signed.by.iter().map(Address::to_string).collect();
        self.facts.push(("signed_by", by.join(" ")));
        self.facts.push(("chain_id", signed.domain.chain_id.to_string()));
        self.facts.push(("contract", signed.domain.manager.to_string()));
    }
}
