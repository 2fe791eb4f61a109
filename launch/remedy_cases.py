"""What `remedies.py` measures: the missed targets, and what was tried for each."""

import dataclasses

SEEDS = 8
FUSIONS = "--xla_cpu_experimental_ynn_fusion_type"  # What YNNPACK computes.


@dataclasses.dataclass(frozen=True)
class Remedy:
    """One way to take the same updates.

    Attributes:
        name: in the table.
        patches: of `remedy_patches.PATCHES`.
        chunk: updates of a call; None for as many as fill a turn.
        flags: of XLA.
        shares: programs that share out the seeds.
        apart: whether these are processes; all at once then.
        at_once: whether these are threads; otherwise they are called in turns.
        one_core: whether each process has a core of its own, and no other.
    """

    name: str
    patches: tuple[str, ...] = ()
    chunk: int | None = None
    flags: str = ""
    shares: int = 1
    apart: bool = False
    at_once: bool = False
    one_core: bool = False


SHIPPED = Remedy("as shipped")
PRODUCTS = [
    Remedy("each critic a product of its own", ("separate critics",)),
    Remedy("first layers of both critics one product", ("wide first layer",)),
]
BY_LEAF = Remedy("Adam leaf by leaf", ("Adam by leaf",))
DRAWN = Remedy("rows and keys drawn at every update", ("late draws",))
COMPILED = [
    Remedy("vectors of 512 bits", flags="--xla_cpu_prefer_vector_width=512"),
    Remedy(
        "scheduled for concurrency",
        flags="--xla_cpu_enable_concurrency_optimized_scheduler=true",
    ),
    Remedy("products without YNNPACK", flags=f"{FUSIONS}="),
    Remedy("bias and activation fused with products", flags=f"{FUSIONS}=dot,eltwise"),
]
SMALL = [
    SHIPPED,
    *(Remedy(f"{n} updates per call", chunk=n) for n in (1, 10, 100, 400)),
    DRAWN,
    BY_LEAF,
    *PRODUCTS,
    Remedy("two updates unrolled in the loop", ("unrolled",)),
    *COMPILED,
    Remedy("one core", one_core=True),
]
MERGED = Remedy("Q of data and of policy in one call", ("merged calls",))
LARGE = [
    SHIPPED,
    *(Remedy(f"{n} updates per call", chunk=n) for n in (1, 10)),
    Remedy("proposals as an axis, not as rows", ("axis",)),
    Remedy("states' part of the first layer once", ("states once",)),
    Remedy("proposals and data in one call", ("one call",)),
    Remedy("all proposals in one call", ("all rows",)),
    *PRODUCTS,
    BY_LEAF,
    # Not the last: it refuses the layout of a product of CQL.
    *COMPILED[:-1],
]
# Of the seeds, not of the products: all that CQL's eight seeds were measured with.
SHARED = [
    SHIPPED,
    Remedy("seeds one after another in the program", ("mapped seeds",)),
    Remedy("a program per seed, in turns", shares=SEEDS),
    Remedy("2 processes, one core each", shares=2, apart=True, one_core=True),
]
SEVERAL = [
    *SHARED,
    Remedy("2 threads, half of the seeds each", shares=2, at_once=True),
    Remedy(
        "2 threads, products without YNNPACK",
        shares=2,
        at_once=True,
        flags=f"{FUSIONS}=",
    ),
    Remedy("2 processes, half of the seeds each", shares=2, apart=True),
    Remedy("2 devices", flags="--xla_force_host_platform_device_count=2"),
    BY_LEAF,
    *PRODUCTS,
    *COMPILED,
]
# Name -> algorithm, seeds, remedies.
CASES = {
    "awac": ("awac", 1, [*SMALL, MERGED]),
    "iql": ("iql", 1, SMALL),
    "td3_bc": ("td3_bc", 1, SMALL),
    "cql": ("cql", 1, LARGE),
    "awac_seeds": ("awac", SEEDS, SEVERAL),
    "iql_seeds": ("iql", SEEDS, SEVERAL),
    "cql_seeds": ("cql", SEEDS, SHARED),
}
