use daee_signer::publisher::{SignatureFile, Signed, Trust};
use daee_types::{Address, Domain};

use crate::{Finding, Report, Verdict};

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
            // What keeps it from being known is a finding, unless nobody gave it.
            if self.verdict() == Verdict::Verified {
                self.fail("what was signed cannot be compared: give manifest and artifact");
            }
            return;
        };
        if asked.is_none() {
            let message = "nothing says whose signatures count: name the signers in a policy";
            self.say("DAEE-V016", None, message);
        }
        // Then it is told who signed, and whether they did.
        let anyone = || Trust::new(file.signers(), 1, Vec::new());
        let Ok(trust) = asked.map_or_else(anyone, |asked| Ok(asked.trust.clone())) else {
            self.say("DAEE-V015", None, "nobody signed: the file holds no right signature");
            return;
        };
        let domain = asked.and_then(|asked| asked.domain.as_ref());
        match file.judge(&statement, domain, &trust) {
            Ok(signed) => self.signed(&signed),
            Err(problems) => self.findings.extend(problems.iter().map(Finding::of)),
        }
    }

    fn signed(&mut self, signed: &Signed) {
        let by: Vec<String> = signed.by.iter().map(Address::to_string).collect();
        self.facts.push(("signed_by", by.join(" ")));
        self.facts.push(("chain_id", signed.domain.chain_id.to_string()));
        self.facts.push(("contract", signed.domain.manager.to_string()));
    }
}
