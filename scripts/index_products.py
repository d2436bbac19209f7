"""Rule index_products: where the files of each image are, and how good it is."""

from collections.abc import Sequence

from ztfpsf.io import make_provenance, read_table, write_table
from ztfpsf.jobs import job
from ztfpsf.overview.index import OF_IMAGE, Product, make_index


def index_products(
    *, path_to_images: str, path_to_index: str, products: Sequence[Sequence[str]]
) -> None:
    """Write the index of `products`: rule, name, model, optimiser and pattern of each."""
    index = make_index(
        read_table(path_to_images, "summarise_run", OF_IMAGE),
        [Product(*product) for product in products],
    )
    write_table(index, path_to_index, make_provenance([path_to_images], {}))


if __name__ == "__main__":
    with job(snakemake.log[0]):
        index_products(
            path_to_images=snakemake.input.images,
            path_to_index=snakemake.output.index,
            products=snakemake.params.products,
        )
