//! What the server of an encrypted training sees: the bytes of one update, as its two parties exchange them, and what somebody makes
//! of them who has a key, but not the right one.

use std::sync::Arc;
use std::time::Instant;

use hecc_compiler::check::hir::{
    Binary, Env, Expr, ExprKind, Head, Init, Layer, LayerKind, Net, NetId, NetInput, NetRef, Observation, Party, Program, Range, Refresh,
    Scheme, Secure, Serve, Task, Type, Value,
};
use hecc_compiler::inspection::Weights;
use hecc_compiler::passes::Level;
use hecc_compiler::{Options, compile_program};
use hecc_plan::{Plan, Tensor, Tensors, counts, init};
use hecc_runtime::engine::{Client, EngineError, Progress, Server};
use hecc_runtime::wire;

use crate::samples;

/// Numbers that are kept of what crosses: more than any attack reads.
const MOST: usize = 1 << 22;

/// Everything that the server has of one update.
#[derive(Clone, Debug, Default)]
pub struct Sight {
    /// What was run.
    pub how: String,
    /// Coefficients of the ciphertexts, both ways.
    pub ciphertexts: Pool,
    /// The same ciphertexts, opened with a key that is not theirs.
    pub wrong_key: Pool,
    /// Bytes of the batch, to the server.
    pub sent: u64,
    /// Bytes of results, to the client.
    pub returned: u64,
    /// Seconds of the server.
    pub seconds: f64,
}

/// Numbers in which an attacker looks for gradients.
#[derive(Clone, Debug, Default)]
pub struct Pool {
    numbers: Vec<f64>,
}

impl Pool {
    /// The digits of ciphertexts: whole words.
    pub fn add_words(&mut self, bytes: &[u8]) {
        let room = MOST.saturating_sub(self.numbers.len());
        let words = bytes.chunks_exact(8).take(room);
        self.numbers.extend(words.map(|word| i64::from_le_bytes(word.try_into().unwrap_or_default()) as f64));
    }

    /// Slots.
    pub fn add_slots(&mut self, slots: &[f64]) {
        let room = MOST.saturating_sub(self.numbers.len());
        self.numbers.extend(slots.iter().take(room));
    }

    /// Whether there is nothing to look in.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// Takes the `turn`-th stretch of numbers for the gradients of parameters, in the size that `like` has: each turn its own
    /// stretch, from the front again where the numbers end.
    pub fn gradient(&self, turn: usize, names: &[String], like: &Weights) -> Weights {
        let length: usize = names.iter().filter_map(|name| like.get(name)).map(Vec::len).sum();
        let mut numbers = self.numbers.iter().cycle().skip((turn * length) % self.numbers.len().max(1));
        let mut found: Weights = names
            .iter()
            .filter_map(|name| Some((name.clone(), numbers.by_ref().take(like.get(name)?.len()).copied().collect::<Vec<f64>>())))
            .collect();
        let size = |of: &Weights| names.iter().filter_map(|name| of.get(name)).flatten().map(|v| v * v).sum::<f64>().sqrt();
        let scale = size(like) / size(&found).max(f64::MIN_POSITIVE);
        found.values_mut().flatten().for_each(|v| *v *= scale);
        found
    }
}

/// Watches one update of a plan from the side of the server. `whole`: every round is computed; else the client's first message is
/// all, for updates that take too long. `other`: a client of the same plan with a key of its own.
///
/// # Errors
/// [`EngineError`], as an update has them.
pub fn watch(
    plan: &Arc<Plan>,
    (client, mut server): (Client, Server),
    other: &Client,
    batch: &Tensors,
    whole: bool,
    progress: &mut dyn FnMut(&str),
) -> Result<Sight, EngineError> {
    let mut sight = Sight::default();
    let states = init::initial(plan);
    client.check(batch, &states)?;
    if whole {
        progress("making evaluation keys");
        for index in 0..client.keys() {
            server.accept_key(index, &client.key(index)?)?;
        }
        server.ready()?;
    }
    if !plan.carried.is_empty() {
        let message = client.plant(&states)?;
        sight.sent += message.len() as u64;
        if let Some(payload) = message.get(wire::OVERHEAD - 4 + 8..) {
            sight.ciphertexts.add_words(payload);
        }
        if whole {
            server.plant(&message)?;
        }
    }
    progress(if whole { "one encrypted update, seen by the server" } else { "the client's first message, seen by the server" });
    let (mut known, rounds) = (Progress::default(), plan.rounds_of(0));
    for number in if whole { rounds } else { 0..1 } {
        let upload = client.upload(number, batch, &states, &mut known)?;
        sight.sent += upload.len() as u64;
        for ciphertext in server.ciphertexts(number, &upload)? {
            // The seed of the uniform half comes first.
            sight.ciphertexts.add_words(ciphertext.get(32..).unwrap_or_default());
        }
        for slots in other.opened(number, &upload)? {
            sight.wrong_key.add_slots(&slots);
        }
        if !whole {
            break;
        }
        let begun = Instant::now();
        let download = server.round(number, &upload)?;
        sight.seconds += begun.elapsed().as_secs_f64();
        sight.returned += download.len() as u64;
        let mut rest = download.get(wire::OVERHEAD - 4 + 8..).unwrap_or_default();
        for id in &plan.rounds[number].outputs {
            let k = plan.steps[plan.outputs[id.0 as usize].wire.index()].wire.k;
            let length = 2 * counts::half_bytes(plan, k) as usize;
            let Some((ciphertext, after)) = rest.get(4..).and_then(|r| r.split_at_checked(length)) else { break };
            sight.ciphertexts.add_words(ciphertext);
            rest = after;
        }
        for slots in other.opened(number, &download)? {
            sight.wrong_key.add_slots(&slots);
        }
        client.receive(number, &download, &mut known)?;
    }
    sight.how = if whole {
        format!("one whole update of {} samples, encrypted and computed", plan.geometry.batch)
    } else {
        format!(
            "the encrypted inputs of one update of {} samples; the update itself was not computed, for want of time",
            plan.geometry.batch
        )
    };
    Ok(sight)
}

/// Elements of an array that one ciphertext carries.
const PIECE: usize = 1024;

/// A plan that does nothing but take some arrays, encrypted with the parameters of 128 bits, and the arrays as it takes them: what a
/// server would see of a program that has no plan. `None` if there is no such plan.
pub fn inputs_alone(program: &Program, arrays: &Tensors) -> Option<(Plan, Tensors)> {
    let rows = samples::count(arrays);
    let span = program.env.span;
    let (mut observations, mut pieces) = (Vec::new(), Tensors::new());
    for array in arrays.values() {
        let width = array.data.len() / rows.max(1);
        let most = array.data.iter().fold(1.0f64, |most, v| most.max(v.abs()));
        for from in (0..width).step_by(PIECE) {
            let len = PIECE.min(width - from);
            let name = format!("x{}", observations.len());
            let piece =
                |row: &[f64]| row[from..from + len].iter().copied().chain(std::iter::repeat_n(0.0, PIECE - len)).collect::<Vec<_>>();
            let data = array.data.chunks(width).flat_map(piece).collect();
            pieces.insert(name.clone(), Tensor::new(vec![rows, PIECE], data));
            let ranges = vec![Range { low: -most, high: most }; PIECE];
            observations.push(Observation { name, shape: vec![PIECE], ranges, span });
        }
    }
    // What depends on the client's values alone, the client computes; a matrix of the server's makes them cross.
    let kind = LayerKind::Dense { index: 0, inputs: PIECE, outputs: 1, bias: false, init: Init::Orthogonal };
    let net = Net {
        name: "look".to_owned(),
        inputs: vec![NetInput { name: "x".to_owned(), shape: vec![PIECE] }],
        input_shape: vec![PIECE],
        layers: vec![Layer { kind, shape: vec![1], span }],
        outputs: vec![Head { name: None, shape: vec![1], layers: Vec::new() }],
        secret: false,
        span,
    };
    let value = |kind: ExprKind, len: usize| Expr { kind, ty: Type::Sample(len), secret: true, span };
    let looks = (0..observations.len()).map(|index| {
        let x = value(ExprKind::Value(Value::Observation { index, next: false }), PIECE);
        value(ExprKind::Apply { net: NetRef::Net(NetId(0)), args: vec![x] }, 1)
    });
    let expr = looks.reduce(|a, b| value(ExprKind::Binary(Binary::Add, Box::new(a), Box::new(b)), 1))?;
    let env = Env { observations, features: Vec::new(), recode: None, ..program.env.clone() };
    let secure = Secure { scheme: Scheme::Ckks, refresh: Refresh::Client, policy: Party::Client, ..program.secure.clone() };
    let program = Program { env, nets: vec![net], task: Task::Serve(Serve { expr, batch: rows, span }), secure };
    let compiled = compile_program(&program, "inputs alone", &Options { level: Level::new(0), ..Options::default() }).ok()?;
    Some((compiled.plan, pieces))
}
