//! The two classics of process pools: a slow function of four equal numbers, a fast one of ten.

use std::time::Instant;

use super::kernels::{square, sum_sqrt};
use super::mill::Mill;
use super::page::Page;
use super::sums::sum_of_roots;
use crate::exit::Exit;

const ROOTS: u64 = 1_000_000;

pub async fn run(mill: &mut Mill, page: &mut Page) -> Result<(), Exit> {
    page.step("The two classics of process pools")?;
    page.prose(
        "A map sends one task per item and gives the results back in order, as a process pool does. A client in \
         Rust writes client.map(square, 0..10); in a shell a line of input is an item.",
    )?;
    page.commands(&["yes 1000000 | head -4 | gristmill map sum_sqrt"])?;
    sums(mill, page).await?;
    page.commands(&["seq 0 9 | gristmill map square"])?;
    squares(mill, page).await
}

async fn sums(mill: &mut Mill, page: &mut Page) -> Result<(), Exit> {
    let start = Instant::now();
    let sums = match mill.client.map(sum_sqrt, vec![ROOTS; 4]).await?.collect().await {
        Ok(sums) => sums,
        Err(error) => return page.ended("sum_sqrt", error),
    };
    let took = start.elapsed();
    let expected = sum_of_roots(ROOTS);
    let right = sums.iter().filter(|&&sum| sum == expected).count();
    let found = format!("{right} of 4 sums are {expected}, as added up here, bit by bit; {took:.1?}");
    page.check("sum_sqrt", right == 4 && sums.len() == 4, &found)
}

async fn squares(mill: &mut Mill, page: &mut Page) -> Result<(), Exit> {
    let squares = match mill.client.map(square, 0..10).await?.collect().await {
        Ok(squares) => squares,
        Err(error) => return page.ended("square", error),
    };
    let expected: Vec<i64> = (0..10).map(|n| n * n).collect();
    if squares == expected {
        return page.check("square", true, &format!("{squares:?} came back, in this order"));
    }
    page.check("square", false, &format!("{squares:?} came back, {expected:?} is right"))
}
