//! Products rearranged so that each is as large as can be: other views of the same sums, chosen by shapes alone.

use crate::plan::step::{Epilogue, Product, View};

/// The product with a view of each operand, the result and the epilogue changed.
fn changed(product: &Product, a: View, b: View, other: impl Fn(&View) -> View) -> Product {
    Product {
        a,
        b,
        out: other(&product.out),
        accumulate: product.accumulate,
        epilogue: product.epilogue.as_ref().map(|epilogue| Epilogue {
            loads: epilogue.loads.iter().map(&other).collect(),
            code: epilogue.code.clone(),
            stores: epilogue.stores.iter().map(|(value, view)| (*value, other(view))).collect(),
        }),
    }
}

fn swapped(view: &View, first: usize, second: usize) -> View {
    let mut view = view.clone();
    view.shape.swap(first, second);
    view.strides.swap(first, second);
    view
}

/// Whether the epilogue's views can be rearranged; wrong ones are refused later, where they are named.
pub(crate) fn has_rank_3(product: &Product) -> bool {
    product.epilogue.as_ref().is_none_or(|epilogue| {
        let views = epilogue.loads.iter().chain(epilogue.stores.iter().map(|(_, view)| view));
        views.into_iter().all(|view| view.shape.len() == 3 && view.strides.len() == 3)
    })
}

/// The product of the transposes: out^T (+)= b^T a^T.
pub(crate) fn transposed(product: &Product) -> Product {
    let turned = |view: &View| swapped(view, 1, 2);
    changed(product, turned(&product.b), turned(&product.a), turned)
}

/// A long batch of products exchanged for fewer and larger ones, if the operands allow it.
///
/// Where the whole batch is summed, its axis and the inner one are alike: the shorter becomes the batch. Where all products share
/// an operand, the batch and the rows of the other one are alike.
pub(crate) fn fewer(product: &Product) -> Option<Product> {
    let [batch, m, k] = <[usize; 3]>::try_from(product.a.shape.as_slice()).ok()?;
    let n = product.b.shape[2];
    if batch == 1 || !has_rank_3(product) {
        return None;
    }
    if product.out.strides[0] == 0 {
        return (0 < k && k < batch).then(|| {
            let (a, b) = (swapped(&product.a, 0, 2), swapped(&product.b, 0, 1));
            let mut result = changed(product, a, b, |view| View { shape: vec![1, m, n], ..view.clone() });
            result.out.shape[0] = k;
            result
        });
    }
    if product.b.strides[0] == 0 && m < batch {
        let mut b = product.b.clone();
        b.shape[0] = m;
        let rows = |view: &View| swapped(view, 0, 1);
        return Some(changed(product, rows(&product.a), b, rows));
    }
    (product.a.strides[0] == 0 && n < batch).then(|| fewer(&transposed(product))).flatten()
}
