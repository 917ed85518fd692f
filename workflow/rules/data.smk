# Data: the embedded demonstration data, and any source turned into one canonical form.
# The prepare rules run where Snakemake runs, since compute nodes often have no network.
localrules:
    prepare_sft,
    prepare_benchmark,
    prepare_examples,
    content_free,


rule demo_data:
    output:
        directory("results/demo"),
    log:
        "results/logs/demo_data.log",
    benchmark:
        "results/benchmarks/demo_data.tsv"
    conda:
        "../../envs/calgrid.yaml"
    params:
        version=versions.DEMO_VERSION,
    shell:
        "python $SCRIPTS/make_demo_data.py --output {output} > {log} 2>&1"


rule prepare_sft:
    input:
        lambda w: source_folder(entry("sft_datasets", w.sft)),
    output:
        data="results/data/sft/{sft}.parquet",
        manifest="results/data/sft/{sft}.json",
    log:
        "results/logs/prepare_sft/{sft}.log",
    benchmark:
        "results/benchmarks/prepare_sft/{sft}.tsv"
    conda:
        "../../envs/calgrid.yaml"
    resources:
        max_rejected_share=str(CONFIG.data.max_rejected_share),
    params:
        files=lambda w: source_files(entry("sft_datasets", w.sft)),
        source=lambda w: sft_flags(entry("sft_datasets", w.sft)),
        validation_share=CONFIG.data.validation_share,
        version=versions.PREPARE_VERSION,
    shell:
        "python $SCRIPTS/prepare_sft.py {params.source:q} --validation-share {params.validation_share}"
        " --max-rejected-share {resources.max_rejected_share} --output {output.data:q} --manifest {output.manifest:q} > {log:q} 2>&1"


rule prepare_benchmark:
    input:
        lambda w: source_folder(entry("benchmarks", w.benchmark)),
    output:
        data="results/data/benchmarks/{benchmark}/{language}.parquet",
        manifest="results/data/benchmarks/{benchmark}/{language}.json",
    log:
        "results/logs/prepare_benchmark/{benchmark}/{language}.log",
    benchmark:
        "results/benchmarks/prepare_benchmark/{benchmark}/{language}.tsv"
    wildcard_constraints:
        benchmark=r"[^/=+]+",
    conda:
        "../../envs/calgrid.yaml"
    resources:
        max_rejected_share=str(CONFIG.data.max_rejected_share),
    params:
        files=lambda w: source_files(entry("benchmarks", w.benchmark)),
        source=question_flags,
        version=versions.PREPARE_VERSION,
    shell:
        "python $SCRIPTS/prepare_benchmark.py {params.source:q} --max-rejected-share {resources.max_rejected_share}"
        " --output {output.data:q} --manifest {output.manifest:q} > {log:q} 2>&1"


# The answered examples of a few-shot prompt, from another split of the same source.
use rule prepare_benchmark as prepare_examples with:
    output:
        data="results/data/examples/{benchmark}/{language}.parquet",
        manifest="results/data/examples/{benchmark}/{language}.json",
    log:
        "results/logs/prepare_examples/{benchmark}/{language}.log",
    benchmark:
        "results/benchmarks/prepare_examples/{benchmark}/{language}.tsv"
    params:
        files=lambda w: source_files(entry("benchmarks", w.benchmark)),
        source=example_flags,
        version=versions.PREPARE_VERSION,


# Prompts that say nothing, prepared as a benchmark of their own: it is tokenised and scored like any other.
rule content_free:
    input:
        lambda w: prepared([paths.benchmark_data(w.benchmark, w.language)]),
    output:
        data=f"results/data/benchmarks/{{benchmark}}{CONTENT_FREE}/{{language}}.parquet",
        manifest=f"results/data/benchmarks/{{benchmark}}{CONTENT_FREE}/{{language}}.json",
    log:
        "results/logs/content_free/{benchmark}/{language}.log",
    benchmark:
        "results/benchmarks/content_free/{benchmark}/{language}.tsv"
    wildcard_constraints:
        benchmark=r"[^/=+]+",
    conda:
        "../../envs/calgrid.yaml"
    params:
        version=versions.CONTENT_FREE_VERSION,
        questions=lambda w: paths.benchmark_data(w.benchmark, w.language),
        flags=lambda w: content_free_flags(),
    shell:
        "python $SCRIPTS/make_content_free.py --questions {params.questions:q} {params.flags:q}"
        " --output {output.data:q} --manifest {output.manifest:q} > {log:q} 2>&1"
