//! Every combination of some parameters, made one at a time.

use std::sync::Arc;

use gristmill::shared::defaults::INTEGER_MAX;

use super::axis::Axis;
use super::record::{Cell, Record};

/// A product of parameters, of which no more than a counter is kept. The last parameter varies fastest.
#[derive(Debug, Clone)]
pub struct Grid {
    names: Arc<[String]>,
    axes: Arc<[Axis]>,
    total: u64,
    next: u64,
}

impl Grid {
    /// The product; refused if a parameter occurs twice, or nobody could count the points.
    pub fn new(axes: &[Axis]) -> Result<Self, String> {
        for (i, axis) in axes.iter().enumerate() {
            if axes[..i].iter().any(|other| other.name == axis.name) {
                return Err(format!("--grid {} occurs twice: write all its values into one", axis.name));
            }
        }
        let total = axes.iter().try_fold(1u64, |total, axis| total.checked_mul(axis.len()));
        let total = total.filter(|total| *total <= INTEGER_MAX);
        let total = total.ok_or("--grid has more than 2^53 points: use fewer values")?;
        let names = axes.iter().map(|axis| axis.name.clone()).collect();
        Ok(Self { names, axes: axes.into(), total, next: 0 })
    }

    /// All points, those that were taken included.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The parameters.
    pub fn names(&self) -> &Arc<[String]> {
        &self.names
    }

    fn point(&self, mut index: u64) -> Vec<Cell> {
        let mut cells: Vec<Cell> = Vec::with_capacity(self.axes.len());
        for axis in self.axes.iter().rev() {
            cells.push(Cell::Value(axis.get(index % axis.len())));
            index /= axis.len();
        }
        cells.reverse();
        cells
    }
}

impl Iterator for Grid {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        let index = self.next;
        if index >= self.total {
            return None;
        }
        self.next += 1;
        Some(Record::Cells { names: self.names.clone(), cells: self.point(index) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(axes: &[&str]) -> Result<Grid, String> {
        Grid::new(&axes.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>())
    }

    #[test]
    fn the_last_parameter_varies_fastest() {
        let grid = grid(&["a=1..2", "b=x,y", "c=0:0.5:0.5"]).unwrap();
        assert_eq!((grid.total(), grid.names().join(" ")), (8, "a b c".to_owned()));
        let points: Vec<String> = grid.map(|record| record.text()).collect();
        assert_eq!(points[..4], ["1 x 0.0", "1 x 0.5", "1 y 0.0", "1 y 0.5"]);
        assert_eq!((points.len(), points[7].as_str()), (8, "2 y 0.5"));
    }

    #[test]
    fn nothing_is_made_ahead() {
        let mut grid = grid(&["a=1..94906265", "b=1..94906265"]).unwrap();
        assert_eq!(grid.total(), 94_906_265 * 94_906_265);
        grid.next = grid.total() - 1;
        assert_eq!(grid.next().unwrap().text(), "94906265 94906265");
        assert!(grid.next().is_none());
    }

    #[test]
    fn too_many_points_and_double_names_are_refused() {
        let error = grid(&["a=1..94906266", "b=1..94906266"]).unwrap_err();
        assert!(error.contains("2^53"), "{error}");
        let error = grid(&["a=1..9007199254740992", "b=1..9007199254740992", "c=1..4"]).unwrap_err();
        assert!(error.contains("2^53"), "{error}");
        assert!(grid(&["a=1", "b=2", "a=3"]).unwrap_err().contains("--grid a occurs twice"));
    }
}
