//! Products of an optimiser's, such as those that track the scale of gradients, among what the server carries.
//!
//! All parameters whose optimiser is the same stand in the lanes of one ciphertext, so that one product serves all of them:
//! gradients are packed into the first block, and states are rotated there from their own. What other lanes hold is junk that
//! the mask after the last product takes away.

use std::collections::BTreeMap;

use hecc_plan::{CarriedId, Op, PlainPattern, Span, WireId};

use super::carried::{Home, Item, STATE_RANGE, Shelf};
use super::lower::{Cts, Form, Lowering, Value};
use crate::tensor::{Id, Op as TensorOp};

/// A term of a form, its factor aside, named alike for all parameters whose optimiser is the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Leaf {
    /// States in that block of that ciphertext.
    State(usize, usize),
    Gradient,
    Product(String),
    /// A number in every slot.
    Constant,
    /// Nothing that the products of several parameters could share.
    Own(String),
}

impl Lowering<'_> {
    /// What a product is of, the same for parameters whose optimiser is the same.
    pub(super) fn class(&self, id: Id) -> String {
        let operands = self.graph.operands(id);
        let operand = |id: Id| match self.value_of(id) {
            Some(Value::Form(form)) => format!("{:?}", self.terms(&form)),
            _ => format!("%{}", id.index()),
        };
        operands.into_iter().map(operand).collect::<Vec<_>>().join(" * ")
    }

    fn terms(&self, form: &Form) -> Vec<(Leaf, String)> {
        let shelf = self.shelf.as_ref();
        let rated = |rate: Option<usize>, leaf: Leaf| rate.map_or(leaf.clone(), |rate| Leaf::Own(format!("{leaf:?} at {rate}")));
        let states = form.states.iter().map(|((name, rate), c)| {
            let seat = shelf.and_then(|shelf| shelf.seat(name));
            let leaf = seat.map_or(Leaf::Own(name.clone()), |(ciphertext, block)| Leaf::State(ciphertext, block));
            (rated(*rate, leaf), format!("{c:e}"))
        });
        let gradients = form.gradients.iter().map(|((_, rate), c)| (rated(*rate, Leaf::Gradient), format!("{c:e}")));
        let products = form.products.iter().map(|((id, rate), c)| (rated(*rate, Leaf::Product(self.class(*id))), format!("{c:e}")));
        let constant = (form.constant != 0.0).then(|| (Leaf::Constant, format!("{:e}", form.constant)));
        let mut terms: Vec<(Leaf, String)> = states.chain(gradients).chain(products).chain(constant).collect();
        terms.sort();
        terms
    }

    /// The product of one class for several parameters, each in its lanes of the first block.
    pub(super) fn product(&mut self, members: &[(Home, Id)], span: Span) -> Option<Cts> {
        let key: Vec<Id> = members.iter().map(|(_, id)| *id).collect();
        if let Some(product) = self.products.get(&key) {
            return Some(product.clone());
        }
        let shelf = self.shelf.as_ref()?;
        if shelf.block() > self.grid.lanes || !matches!(self.graph.node(key[0]).op, TensorOp::Mul) {
            self.unsupported("an adaptive optimiser of this many weights, without the client", span);
            return None;
        }
        let mut operands = Vec::new();
        for slot in 0..2 {
            let mut forms = Vec::new();
            for (home, id) in members {
                let Some(Value::Form(form)) = self.value_of(self.graph.operands(*id)[slot]) else { return None };
                forms.push((home.clone(), form));
            }
            let computed = forms.iter().any(|(_, form)| !form.products.is_empty());
            let operand = self.aligned(&forms, span)?;
            operands.push(if computed { self.fitted(&operand, span) } else { operand });
        }
        let product = self.multiply(&operands[0], &operands[1], span);
        let product = self.balanced(&product, STATE_RANGE, span);
        self.products.insert(key, product.clone());
        Some(product)
    }

    /// What was computed has magnitude one, whatever its factor says: before it is multiplied it gets the bits that are there, and
    /// what other blocks hold, which such factors would make large, goes.
    fn fitted(&mut self, x: &Cts, span: Span) -> Cts {
        let ratio = x.factor / STATE_RANGE;
        if (1.0 / 8.0..=8.0).contains(&ratio.abs()) {
            return x.clone();
        }
        let (block, lanes) = (self.shelf.as_ref().map_or(self.grid.lanes, Shelf::block), self.grid.lanes);
        let values: Vec<f64> = (0..lanes).map(|lane| if lane < block { ratio } else { 0.0 }).collect();
        let wires = x.wires.iter().map(|&wire| self.masked_lanes(wire, PlainPattern::Lanes { values: values.clone() }, span)).collect();
        Cts { wires, factor: STATE_RANGE, ..x.clone() }
    }

    /// Forms with the same terms for several parameters, each in its lanes of the first block.
    fn aligned(&mut self, forms: &[(Home, Form)], span: Span) -> Option<Cts> {
        let terms = self.terms(&forms[0].1);
        let leaves: Vec<&Leaf> = terms.iter().map(|(leaf, _)| leaf).collect();
        let distinct = leaves.windows(2).all(|pair| pair[0] != pair[1]);
        let alike = distinct && forms.iter().all(|(_, form)| self.terms(form) == terms);
        let shared = |leaf: &&Leaf| !matches!(leaf, Leaf::Own(_));
        let constant = forms[0].1.constant;
        if !alike || !leaves.iter().all(shared) {
            if forms.iter().any(|(_, form)| form.constant != 0.0) {
                self.unsupported("an adaptive optimiser of several kinds of parameters, without the client", span);
                return None;
            }
            return self.packed(forms, span);
        }
        let mut sum: Option<Cts> = None;
        for (leaf, _) in &terms {
            let part = match leaf {
                Leaf::State(ciphertext, block) => {
                    let c = *forms[0].1.states.iter().find(|((name, _), _)| self.seat_of(name) == Some((*ciphertext, *block)))?.1;
                    let carried = self.circuit.push(Op::Carried(CarriedId(*ciphertext as u32)), span);
                    let by = (block * self.shelf.as_ref()?.block()) as i64;
                    let wire = self.circuit.rotate(carried, by, span);
                    single(wire, c * STATE_RANGE)
                }
                Leaf::Gradient => {
                    let c = *forms[0].1.gradients.values().next()?;
                    // As large as gradients are, whatever they are multiplied by.
                    let alone = |form: &Form| {
                        let gradients = form.gradients.keys().map(|key| (*key, STATE_RANGE)).collect();
                        Form { gradients, ..Form::default() }
                    };
                    let gradients: Vec<(Home, Form)> = forms.iter().map(|(home, form)| (home.clone(), alone(form))).collect();
                    let packed = self.packed(&gradients, span)?;
                    Cts { factor: c, ..packed }
                }
                Leaf::Product(class) => {
                    let of = |lowering: &Self, form: &Form| {
                        form.products.iter().find(|((id, _), _)| lowering.class(*id) == *class).map(|((id, _), c)| (*id, *c))
                    };
                    let mut members = Vec::new();
                    for (home, form) in forms {
                        members.push((home.clone(), of(self, form)?.0));
                    }
                    members.sort_by_key(|(_, id)| *id);
                    let c = of(self, &forms[0].1)?.1;
                    let product = self.product(&members, span)?;
                    Cts { factor: c * product.factor, ..product }
                }
                // Last: it needs what it is added to.
                Leaf::Constant => continue,
                Leaf::Own(_) => return None,
            };
            sum = Some(match sum {
                None => part,
                Some(sum) => self.add(&sum, &part, span),
            });
        }
        sum.map(|sum| self.offset(&sum, constant, span))
    }

    fn seat_of(&self, name: &str) -> Option<(usize, usize)> {
        self.shelf.as_ref().and_then(|shelf| shelf.seat(name))
    }

    /// The same by masks and rotations, whatever the forms are.
    fn packed(&mut self, forms: &[(Home, Form)], span: Span) -> Option<Cts> {
        let items: Vec<Item<'_>> = forms
            .iter()
            .map(|(home, form)| Item { name: None, home, place: (0, home.offset), form: form.clone(), period: None, span })
            .collect();
        let wires: BTreeMap<usize, WireId> = self.put(&items)?;
        Some(single(*wires.get(&0)?, STATE_RANGE))
    }
}

fn single(wire: WireId, factor: f64) -> Cts {
    Cts { wires: vec![wire], factor, dim: 1, clean: false }
}
