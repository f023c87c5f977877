//! Nonlinear least squares by Levenberg and Marquardt, with derivatives by differences.

use levenberg_marquardt::{LeastSquaresProblem, LevenbergMarquardt};
use nalgebra::{DMatrix, DVector, Dyn, Owned};
use rayon::prelude::*;

/// Half the distance between the two ends of a difference.
const STEP: f64 = 1e-5;

/// What is left over at a point; `None` where it is not defined.
type Residuals<'a> = dyn Fn(&[f64]) -> Option<Vec<f64>> + Sync + 'a;

struct Problem<'a> {
    residuals: &'a Residuals<'a>,
    at: DVector<f64>,
}

impl LeastSquaresProblem<f64, Dyn, Dyn> for Problem<'_> {
    type ResidualStorage = Owned<f64, Dyn>;
    type JacobianStorage = Owned<f64, Dyn, Dyn>;
    type ParameterStorage = Owned<f64, Dyn>;

    fn set_params(&mut self, at: &DVector<f64>) {
        self.at.copy_from(at);
    }

    fn params(&self) -> DVector<f64> {
        self.at.clone()
    }

    fn residuals(&self) -> Option<DVector<f64>> {
        (self.residuals)(self.at.as_slice()).map(DVector::from_vec)
    }

    fn jacobian(&self) -> Option<DMatrix<f64>> {
        let column = |i: usize| {
            let away = |by: f64| {
                let mut at = self.at.clone();
                at[i] += by;
                (self.residuals)(at.as_slice()).map(DVector::from_vec)
            };
            Some((away(STEP)? - away(-STEP)?) / (2.0 * STEP))
        };
        let columns = (0..self.at.len()).into_par_iter().map(column).collect::<Option<Vec<_>>>()?;
        Some(DMatrix::from_columns(&columns))
    }
}

/// The nearest minimum from a start, and half the square of what is left over there. `patience`: evaluations per unknown.
pub fn least_squares(residuals: &Residuals<'_>, start: Vec<f64>, patience: usize) -> Option<(Vec<f64>, f64)> {
    let problem = Problem { residuals, at: DVector::from_vec(start) };
    let solver = LevenbergMarquardt::new().with_patience(patience);
    let (found, report) = solver.minimize(problem);
    let left = report.objective_function;
    left.is_finite().then(|| (found.at.as_slice().to_vec(), left))
}
