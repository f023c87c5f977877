//! An audit: the attacks that fit a program, on every target, put together as a report.

mod rooms;
mod transitions;
mod values;

use std::time::Instant;

use hecc_compiler::check::hir::{LayerKind, Optimizer, Schedule, Stmt, Task};
use hecc_compiler::diagnostics::Diagnostic;
use hecc_compiler::inspection::{Rows, Weights};
use hecc_compiler::tensor::Data;
use hecc_plan::clear::ClearError;
use hecc_plan::{ActionSpec, Tensor, Tensors, UPDATE};
use hecc_runtime::engine::EngineError;
use hecc_runtime::env::EnvError;
use hecc_runtime::session::SessionError;
use hecc_runtime::session::policy::rounded;
use hecc_runtime::session::random::normal;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::arrays::{DataError, Wanted};
use crate::attacks::form::{Form, forms};
use crate::attacks::model::Model;
use crate::report::{Flow, Method, Program, Report, Seen, Target, VERSION};
use crate::server::Sight;
use crate::{report, samples, scenes};

/// What an audit is asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// Gradients that are attacked, where an attack is a closed form.
    pub samples: usize,
    /// The seed of weights, transitions and starts.
    pub seed: u64,
    /// Standard deviation of noise on every gradient.
    pub noise: f64,
    /// Largest norm of a gradient; longer ones are clipped to it.
    pub clip: Option<f64>,
    /// Transitions behind one gradient, for the attack on transitions.
    pub batch: usize,
    /// Searches, where an attack is one: pictures and transitions.
    pub searches: usize,
    /// Steps of a search for pictures; as many as a minute allows where there is none.
    pub steps: Option<usize>,
    /// The ablations of the search for pictures, too.
    pub ablations: bool,
    /// Also attack what leaves if the client publishes its weights after each update.
    pub publish: bool,
    /// Arrays of transitions instead of those that the audit gathers.
    pub data: Option<Tensors>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            samples: 240,
            seed: 0,
            noise: 0.0,
            clip: None,
            batch: 1,
            searches: 3,
            steps: None,
            ablations: false,
            publish: false,
            data: None,
        }
    }
}

/// Why there is no audit.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// What is wrong with the program.
    #[error("the program has errors")]
    Program(Vec<Diagnostic>),
    /// HE0701.
    #[error("this program trains nothing: no gradient comes of it that could be attacked")]
    NoTraining,
    /// HE0702.
    #[error("no attack fits this program: {0}")]
    NoAttack(String),
    /// HE0703.
    #[error("there are no transitions to attack: {0}")]
    Data(String),
    /// HE071x: arrays of the user's that do not fit.
    #[error(transparent)]
    Arrays(#[from] DataError),
    /// As an update has them.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl AuditError {
    /// Its code.
    pub fn code(&self) -> &'static str {
        match self {
            AuditError::Program(errors) => errors.first().map_or("HE0101", |error| error.code),
            AuditError::NoTraining => "HE0701",
            AuditError::NoAttack(_) => "HE0702",
            AuditError::Data(_) => "HE0703",
            AuditError::Arrays(error) => error.code(),
            AuditError::Engine(error) => error.code(),
        }
    }
}

impl From<ClearError> for AuditError {
    fn from(error: ClearError) -> Self {
        AuditError::Data(error.to_string())
    }
}

/// A program with weights and transitions, ready to be attacked.
pub struct Audit<'a> {
    source: &'a str,
    options: &'a Options,
    /// The program for one sample at a time.
    model: Model,
    forms: Vec<Form>,
    arrays: Tensors,
    origin: String,
}

impl<'a> Audit<'a> {
    /// Checks the program and gathers transitions, at least `least` of them.
    ///
    /// # Errors
    /// [`AuditError`].
    pub fn new(source: &'a str, options: &'a Options, least: usize) -> Result<Self, AuditError> {
        let model = Model::new(source, 1, options.seed).map_err(AuditError::Program)?.ok_or(AuditError::NoTraining)?;
        let forms = forms(model.program());
        if forms.iter().all(|form| form.call().is_none()) {
            let known = "no `minimize` has values of discrete actions, logarithms of a policy's probabilities, or values that learn from \
                         the next state's";
            return Err(AuditError::NoAttack(known.to_owned()));
        }
        let (arrays, origin) = transitions_of(&model, options, least)?;
        Ok(Self { source, options, model, forms, arrays, origin })
    }

    /// The checked program.
    pub fn program(&self) -> &hecc_compiler::check::hir::Program {
        self.model.program()
    }

    /// A batch of `count` of the transitions that are attacked, from the front again where there are fewer, as the first update has it.
    pub fn batch(&self, count: usize) -> Tensors {
        let mut batch = samples::repeated(&self.arrays, count);
        batch.insert(UPDATE.to_owned(), Tensor::zeros(&[count]));
        batch
    }

    /// Transitions, as many as there are.
    pub fn arrays(&self) -> &Tensors {
        &self.arrays
    }

    /// Runs the attacks. `sight`: what the server sees of one encrypted update of these transitions.
    ///
    /// # Errors
    /// [`AuditError`].
    pub fn run(
        &self,
        name: &str,
        sight: Option<&Sight>,
        flow: Flow,
        warnings: Vec<String>,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Report, AuditError> {
        let begun = Instant::now();
        let leaves = self.options.publish || flow.sees.iter().any(|seen| seen.form == report::Form::Data);
        let mut attacks = Vec::new();
        for (loss, form) in self.forms.iter().enumerate() {
            let targets = self.targets(sight, leaves);
            let case = Case { audit: self, loss, sight, targets };
            match form {
                Form::Values(call) => {
                    attacks.extend(values::of_values(&case, call, progress)?);
                    attacks.extend(rooms::of(&case, call, progress)?);
                    // What closed forms read off one sample has to be searched for in the sum of several.
                    let vectors = self.model.inspection.training.env.observations.iter().all(|o| o.shape.len() < 3);
                    if self.options.batch > 1 && vectors {
                        attacks.extend(transitions::of(&case, self.source, progress)?);
                    }
                }
                Form::Policy(call) => {
                    attacks.extend(values::of_policy(&case, call, progress)?);
                    attacks.extend(rooms::of(&case, call, progress)?);
                }
                Form::Transition(_) => attacks.extend(transitions::of(&case, self.source, progress)?),
                Form::Other => {}
            }
        }
        if attacks.is_empty() {
            let why = "the first and the last dense layer of the network have to have biases, and it one output";
            return Err(AuditError::NoAttack(why.to_owned()));
        }
        let mut flow = flow;
        if self.options.publish {
            flow.sees.push(Seen {
                what: "the difference of weights that the client publishes".to_owned(),
                form: report::Form::Data,
                bytes: None,
                often: "per update".to_owned(),
            });
        }
        let mut notes = Vec::new();
        if let Some(sight) = sight {
            notes.push(format!("Encrypted, this was run: {}.", sight.how));
        }
        notes.push(format!("Attacked were {}, on weights as training begins.", self.origin));
        let steps = self.model.inspection.training.run.n_step;
        if steps > 1 && attacks.iter().any(|attack| attack.method == Method::Rgia) {
            notes.push(format!(
                "The program learns over {steps} steps at once (n_step): dynamics are those of one step, so that the search for transitions \
                 had nothing but the gradient and the declared ranges."
            ));
        }
        let program = Program { name: name.to_owned(), fingerprint: hecc_compiler::fingerprint(self.source), about: about(&self.model) };
        let report = Report {
            version: VERSION,
            program,
            seed: self.options.seed,
            seconds: begun.elapsed().as_secs_f64(),
            summary: String::new(),
            attacks,
            flow,
            warnings,
            notes,
        };
        Ok(report.judged())
    }

    fn targets(&self, sight: Option<&Sight>, leaves: bool) -> Vec<Target> {
        let mut targets = vec![Target::ClearGradients];
        if self.options.noise > 0.0 || self.options.clip.is_some() {
            targets.push(Target::GuardedGradients { clip: self.options.clip, noise: self.options.noise });
        }
        if let Some(sight) = sight {
            targets.extend((!sight.ciphertexts.is_empty()).then_some(Target::Ciphertexts));
            targets.extend((!sight.wrong_key.is_empty()).then_some(Target::WrongKey));
        }
        if leaves {
            targets.push(Target::DecryptedUpdate);
        }
        targets
    }
}

/// One loss and what it is attacked through.
struct Case<'a> {
    audit: &'a Audit<'a>,
    loss: usize,
    sight: Option<&'a Sight>,
    targets: Vec<Target>,
}

impl Case<'_> {
    fn model(&self) -> &Model {
        &self.audit.model
    }

    /// Gradients that can be attacked, at most as many as are asked for.
    fn samples(&self) -> usize {
        self.audit.options.samples.min(samples::count(&self.audit.arrays)).max(1)
    }

    /// Transition number `index` as the body sees it.
    fn rows(&self, index: usize) -> Result<Rows, AuditError> {
        Ok(self.model().inspection.rows(&samples::part(&self.audit.arrays, index, 1))?)
    }

    /// What a target gives away of a sample: its gradient, or what the attacker takes for it. `model` is for the batch of `rows`.
    fn gradient(&self, target: &Target, model: &Model, turn: usize, rows: &Rows) -> Weights {
        let names = model.trained(self.loss);
        let clear = || model.gradient(self.loss, rows);
        match (target, self.sight) {
            (Target::GuardedGradients { clip, noise }, _) => guarded(clear(), *clip, *noise, self.audit.options.seed ^ (turn as u64) << 20),
            (Target::Ciphertexts, Some(sight)) => sight.ciphertexts.gradient(turn, names, &clear()),
            (Target::WrongKey, Some(sight)) => sight.wrong_key.gradient(turn, names, &clear()),
            (Target::DecryptedUpdate, _) => {
                let after = model.updated(self.loss, rows);
                let rate = rate(model, self.loss).unwrap_or(1.0);
                let released = |values: &[f64]| rounded(&Tensor::new(vec![values.len()], values.to_vec())).data;
                let step = |(name, after): (&String, &Vec<f64>)| {
                    let before = released(&model.weights[name]);
                    (name.clone(), before.iter().zip(released(after)).map(|(before, after)| (before - after) / rate).collect())
                };
                after.iter().map(step).collect()
            }
            _ => clear(),
        }
    }
}

/// A gradient clipped to a norm, with noise.
fn guarded(mut gradient: Weights, clip: Option<f64>, noise: f64, seed: u64) -> Weights {
    let size = gradient.values().flatten().map(|g| g * g).sum::<f64>().sqrt();
    let scale = clip.map_or(1.0, |clip| (clip / size).min(1.0));
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    gradient.values_mut().flatten().for_each(|g| *g = *g * scale + noise * normal(&mut rng));
    gradient
}

/// The learning rate of the first update of a loss.
fn rate(model: &Model, loss: usize) -> Option<f64> {
    fn collect<'a>(statements: &'a [Stmt], found: &mut Vec<&'a Optimizer>) {
        for statement in statements {
            match statement {
                Stmt::Minimize { optimizer, .. } => found.push(optimizer),
                Stmt::Every { body, .. } => collect(body, found),
                _ => {}
            }
        }
    }
    let Task::Train(train) = &model.program().task else { return None };
    let mut found = Vec::new();
    collect(&train.body.statements, &mut found);
    match found.get(loss)?.lr {
        Schedule::Constant(lr) | Schedule::Linear(lr, _) | Schedule::Cosine(lr, _) => Some(lr),
    }
}

/// Transitions to attack, and where they come from.
fn transitions_of(model: &Model, options: &Options, least: usize) -> Result<(Tensors, String), AuditError> {
    let (inspection, count) = (&model.inspection, options.samples.max(least).max(options.batch * options.searches));
    let told = |error: &dyn std::fmt::Display| AuditError::Data(error.to_string());
    if let Some(data) = &options.data {
        let mut arrays = crate::arrays::transitions(data.clone(), &wanted(model))?;
        let count = samples::count(&arrays);
        if count == 0 {
            return Err(AuditError::Data("the arrays are empty".to_owned()));
        }
        if count < options.batch {
            return Err(AuditError::Data(format!("one gradient is to be of {}, and the arrays have {count} (--batch)", options.batch)));
        }
        samples::complete(inspection, &mut arrays, count, options.seed);
        inspection.rows(&samples::part(&arrays, 0, 1))?;
        return Ok((arrays, format!("{count} transitions of your own")));
    }
    match samples::gather(inspection, count, options.seed) {
        Ok(arrays) => Ok((arrays, format!("{count} transitions of the random policy in {}", inspection.training.env.id))),
        Err(SessionError::Env(EnvError::Unknown { id })) => match scenes::gather(inspection, count.min(256), options.seed) {
            Some(Ok(arrays)) => Ok((arrays, format!("synthetic rooms in place of {id}"))),
            Some(Err(error)) => Err(told(&error)),
            None => Ok((samples::imagined(inspection, count, options.seed), format!("random transitions of the ranges declared for {id}"))),
        },
        Err(error) => Err(told(&error)),
    }
}

/// The arrays that a program's transitions have. Observations and actions are what attacks look for; the rest may be missing.
fn wanted(model: &Model) -> Vec<Wanted> {
    let spec = &model.inspection.training.env;
    let one = |name: String, shape: &[usize], required| Wanted { name, shape: shape.to_vec(), choices: None, required };
    let mut wanted = Vec::new();
    for observation in &spec.observations {
        wanted.push(one(observation.name.clone(), &observation.shape, true));
        wanted.push(one(format!("{}_next", observation.name), &observation.shape, false));
    }
    let (name, kind) = &spec.action;
    let choices = if let ActionSpec::Discrete(k) = kind { Some(*k) } else { None };
    wanted.push(Wanted { choices, ..one(name.clone(), &[hecc_runtime::env::width(kind)], true) });
    wanted.push(one(spec.reward.0.clone(), &[], false));
    wanted.push(one("done".to_owned(), &[], false));
    for (data, dim) in model.inspection.dims() {
        if let Data::Noise(name) = data {
            wanted.push(one(name, &[dim], false));
        }
    }
    wanted
}

/// What a program trains, in a few words.
fn about(model: &Model) -> String {
    let program = model.program();
    let nets = program.nets.iter().map(|net| {
        let input: usize = net.input_shape.iter().product();
        let widths = net.layers.iter().filter_map(|layer| match layer.kind {
            LayerKind::Dense { outputs, .. } => Some(outputs.to_string()),
            LayerKind::Conv { outputs, kernel, .. } => Some(format!("conv{outputs}@{kernel}")),
            _ => None,
        });
        std::iter::once(input.to_string()).chain(widths).collect::<Vec<_>>().join("-")
    });
    let algorithm = match &program.task {
        Task::Train(train) => train.algorithm.as_str(),
        Task::Serve(_) => "serve",
    };
    format!("{algorithm} on {}, {}", program.env.id, nets.collect::<Vec<_>>().join(", "))
}
