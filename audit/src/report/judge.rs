//! What measurements mean: better than guessing or not, in numbers and in words.

use serde::{Deserialize, Serialize};

use super::{Agreement, Attack, Attempt, Flow, Form, Guessing, Metric, Metrics, Report, Spread, Target};

/// By how many decibels even the worst of several samples must be nearer than the best guess to count, however few there are.
const FAR_DECIBELS: f64 = 6.0;
/// ... by how much a likeness between 0 and 1 must be larger,
const FAR_SHARE: f64 = 0.25;
/// ... and by which factor an error must be smaller.
const FAR_FACTOR: f64 = 10.0;
/// By which factor every error must be smaller than the mean guess's to count even for one sample.
const TINY_FACTOR: f64 = 100.0;

/// How an attempt stands against guessing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// No metric is better than what guessing reaches.
    Guessing,
    /// Some are.
    Better,
    /// All that were measured are.
    GivenAway,
}

impl Standing {
    /// In a few words.
    pub fn words(self) -> &'static str {
        match self {
            Standing::Guessing => "no better than guessing",
            Standing::Better => "better than guessing",
            Standing::GivenAway => "given away",
        }
    }
}

impl Report {
    /// The report with every standing, verdict, the agreement of the flow and the summary filled in from the measurements.
    #[must_use]
    pub fn judged(mut self) -> Self {
        for attack in &mut self.attacks {
            for attempt in &mut attack.targets {
                attempt.standing = standing(&attempt.metrics, &attack.guessing);
            }
            attack.verdict = verdict(attack);
        }
        self.flow.agreement = Some(agreement(&self.flow, &self.attacks));
        self.summary = summary(&self.attacks);
        self
    }

    /// Whether something that the server sees was worth more than guessing.
    pub fn server_learns(&self) -> bool {
        self.attempts().any(|attempt| attempt.standing > Standing::Guessing && seen_by_server(&attempt.target))
    }

    fn attempts(&self) -> impl Iterator<Item = &Attempt> {
        self.attacks.iter().flat_map(|attack| &attack.targets)
    }
}

fn seen_by_server(target: &Target) -> bool {
    target.is_encrypted() || *target == Target::DecryptedUpdate
}

fn standing(metrics: &Metrics, guessing: &Guessing) -> Standing {
    let (found, compared) = better(metrics, guessing);
    match found.len() {
        0 => Standing::Guessing,
        n if n == compared => Standing::GivenAway,
        _ => Standing::Better,
    }
}

/// What an attempt gets better than guessing, in words, and how many metrics could be compared.
fn better(metrics: &Metrics, guessing: &Guessing) -> (Vec<String>, usize) {
    let (mut found, mut compared) = (Vec::new(), 0);
    if let (Some(actions), Some(beats)) = (&metrics.actions, actions_beat(metrics, guessing)) {
        compared += 1;
        if beats {
            found.push(format!("the action in {} of {} samples", actions.right, actions.of));
        }
    }
    for metric in Metric::ALL {
        let (Some(spread), Some(beats)) = (metrics.values.get(&metric), beats(metrics, guessing, metric)) else { continue };
        compared += 1;
        if beats {
            found.push(in_words(metric, spread));
        }
    }
    (found, compared)
}

/// Whether more actions are right than guessing gets. None where it may well get all of so few samples: their number says nothing.
pub fn actions_beat(metrics: &Metrics, guessing: &Guessing) -> Option<bool> {
    let (actions, chance) = (metrics.actions?, guessing.actions?);
    (chance.most < actions.of).then_some(actions.right > chance.most)
}

/// Whether an attempt is nearer than guessing in a metric: by the test of the means, or because even its worst sample is far
/// beyond the best guess. None where there is nothing to compare.
pub fn beats(metrics: &Metrics, guessing: &Guessing, metric: Metric) -> Option<bool> {
    if metric == Metric::GradientMatch {
        return None;
    }
    let (spread, guess) = (metrics.values.get(&metric)?, guessing.values.get(&metric)?);
    let several = spread.count > 1 && guess.count > 1;
    let far = spread.diverged == 0
        && match metric {
            Metric::PsnrRgb | Metric::PsnrDepth => several && spread.least >= guess.most + FAR_DECIBELS,
            Metric::SsimRgb | Metric::SsimDepth | Metric::Iou | Metric::Found => several && spread.least >= guess.most + FAR_SHARE,
            _ => guess.mean > 0.0 && (spread.most * TINY_FACTOR <= guess.mean || several && spread.most * FAR_FACTOR <= guess.least),
        };
    Some(far || if metric.larger_is_nearer() { spread.larger_than(guess) } else { guess.larger_than(spread) })
}

fn in_words(metric: Metric, spread: &Spread) -> String {
    let typical = super::table::typical(metric, spread);
    match metric {
        Metric::PsnrRgb => format!("the picture (PSNR {typical} dB)"),
        Metric::PsnrDepth => format!("the depth picture (PSNR {typical} dB)"),
        Metric::SsimRgb => format!("its structure (SSIM {typical})"),
        Metric::SsimDepth => format!("the structure of the depth (SSIM {typical})"),
        Metric::Iou => format!("the place of the object (IoU {typical})"),
        Metric::StateError => format!("the state (error {typical})"),
        Metric::ActionError => format!("the action (error {typical})"),
        Metric::RewardError => format!("the reward (error {typical})"),
        Metric::NextStateError => format!("the next state (error {typical})"),
        Metric::ProbabilityError => format!("the policy's probabilities (error {typical})"),
        Metric::PredictedQ => format!("the predicted value (error {typical} %)"),
        Metric::TargetQ => format!("the target of learning (error {typical} %)"),
        Metric::Found => format!("{typical} of the transitions as a whole"),
        Metric::GradientMatch => format!("the gradient (mismatch {typical})"),
    }
}

/// Sentences on every target of an attack, those that are like each other in one.
fn verdict(attack: &Attack) -> String {
    let mut sentences = Vec::new();
    let mut nothing = Vec::new();
    for attempt in &attack.targets {
        let from = article(&attempt.target);
        let (found, _) = better(&attempt.metrics, &attack.guessing);
        if found.is_empty() {
            nothing.push((from, attempt));
        } else {
            sentences.push(format!("{} {} away {}.", capital(&from), give(&attempt.target), listed(&found)));
        }
    }
    if !nothing.is_empty() {
        let names: Vec<String> = nothing.iter().map(|(from, _)| from.clone()).collect();
        let mut sentence = format!("With {} the attack does no better than guessing", listed(&names));
        let counts: Vec<String> = nothing
            .iter()
            .filter_map(|(_, attempt)| attempt.metrics.actions.map(|actions| format!("{} of {}", actions.right, actions.of)))
            .collect();
        if let (false, Some(chance)) = (counts.is_empty(), &attack.guessing.actions) {
            sentence += &format!(": it finds the action in {}, and guessing in {} to {}", listed(&counts), chance.fewest, chance.most);
        }
        sentences.push(sentence + ".");
    }
    sentences.join(" ")
}

fn article(target: &Target) -> String {
    match target {
        Target::ClearGradients => "the gradients in the clear".to_owned(),
        Target::Ciphertexts => "the ciphertexts".to_owned(),
        Target::WrongKey => "ciphertexts opened with a wrong key".to_owned(),
        Target::DecryptedUpdate => "a decrypted update".to_owned(),
        Target::GuardedGradients { .. } => target.name(),
    }
}

fn give(target: &Target) -> &'static str {
    if *target == Target::DecryptedUpdate { "gives" } else { "give" }
}

fn summary(attacks: &[Attack]) -> String {
    let reach = |wanted: &dyn Fn(&Target) -> bool| {
        let all = attacks.iter().flat_map(|attack| &attack.targets).filter(|attempt| wanted(&attempt.target));
        all.map(|attempt| attempt.standing).max()
    };
    let clear = reach(&|target| *target == Target::ClearGradients);
    let shared = match clear {
        Some(Standing::GivenAway) => "Gradients shared in the clear would give the training data away",
        Some(Standing::Better) => "Gradients shared in the clear would give part of the training data away",
        Some(Standing::Guessing) => "Even from gradients in the clear these attacks read nothing of the training data",
        None => "No attack was run on gradients in the clear",
    };
    if reach(&Target::is_encrypted) > Some(Standing::Guessing) {
        return format!("{shared}; and what the server sees of the encrypted training is worth more than guessing: do not use this plan.");
    }
    let leaves = reach(&|target| *target == Target::DecryptedUpdate);
    if leaves > Some(Standing::Guessing) {
        return format!(
            "{shared}; encryption does not help this program, because what leaves the client in the clear gives the same attacks what they want."
        );
    }
    match (clear, reach(&Target::is_encrypted)) {
        (_, None) => format!("{shared}; no attack was run on what the server sees."),
        (Some(Standing::Guessing), _) => format!("{shared}, so that this audit cannot tell what encryption adds."),
        _ => format!("{shared}; what the server sees of the encrypted training is worth no more to the same attacks than guessing."),
    }
}

/// Compares what the plan lets the server see with what the attacks made of it.
fn agreement(flow: &Flow, attacks: &[Attack]) -> Agreement {
    let attempts = || attacks.iter().flat_map(|attack| &attack.targets);
    let best = |wanted: &dyn Fn(&Target) -> bool| attempts().filter(|a| wanted(&a.target)).map(|a| a.standing).max();
    let data: Vec<String> = flow.sees.iter().filter(|seen| seen.form == Form::Data).map(|seen| seen.what.clone()).collect();
    let in_clear = best(&|target| *target == Target::DecryptedUpdate);
    let encrypted = best(&Target::is_encrypted);
    let (agrees, why) = match (data.is_empty(), encrypted, in_clear) {
        (_, Some(Standing::Better | Standing::GivenAway), _) => (
            false,
            "By the plan, ciphertexts are all that the server has of the data, yet an attack on them does better than guessing.".to_owned(),
        ),
        (_, None, _) => (false, "No attack was run on the ciphertexts, so that nothing measured stands beside the plan.".to_owned()),
        (true, Some(Standing::Guessing), None) => (
            true,
            "By the plan, the server has only ciphertexts of the data; measured, attacks on them do no better than guessing.".to_owned(),
        ),
        (true, _, Some(_)) => (false, "Values were attacked that, by the plan, the server does not have in the clear.".to_owned()),
        (false, _, None) => (false, format!("By the plan, the server has {} in the clear, on which no attack was run.", listed(&data))),
        (false, _, Some(Standing::Guessing)) => (
            true,
            format!(
                "By the plan, the server has {} in the clear; these attacks make nothing of it, which is no proof that another cannot.",
                listed(&data)
            ),
        ),
        (false, _, Some(_)) => {
            (true, format!("By the plan, the server has {} in the clear, and the attacks read the data from it.", listed(&data)))
        }
    };
    Agreement { agrees, why }
}

fn listed(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
