//! `products`: the applications that use the server.

use nucleus_core::ids::Product;
use nucleus_core::limits::within;

use super::value::ValueError;

/// Most products of a server. Each tenant's product has its own lobby and users.
const MAX_PRODUCTS: usize = 16;

/// The products of a server that configures none.
pub(super) fn default() -> Vec<Product> {
    vec![Product::ATOM, Product::ASSIST]
}

/// Checks the list.
///
/// # Errors
///
/// It is empty or too long, or names a product twice.
pub(super) fn check(products: &[Product]) -> Result<(), ValueError> {
    within("the length of products", products.len(), 1..=MAX_PRODUCTS)?;
    for (at, product) in products.iter().enumerate() {
        if products[..at].contains(product) {
            return Err(ValueError::new(format!("products names {product} twice")));
        }
    }
    Ok(())
}
