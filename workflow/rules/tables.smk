# Tables: the overall ones (Table 1 and 2), one a language of each benchmark, and a page of all.
rule overall_tables:
    input:
        selection="results/selection.parquet",
        metrics=lambda w: [path for benchmark in CONFIG.grid.benchmarks for path in grid_metrics(benchmark)],
        significance=expand("results/significance/{benchmark}.parquet", benchmark=CONFIG.grid.benchmarks),
    output:
        [table(path, "overall_table", f"Table {Path(path).stem.removeprefix('table')}") for path in overall_tables()],
    log:
        "results/logs/overall_tables.log",
    benchmark:
        "results/benchmarks/overall_tables.tsv"
    conda:
        "../../envs/calgrid.yaml"
    params:
        flags=table_flags(CONFIG.evaluation.smoothing),
        table1=in_grid(CONFIG.evaluation.table1_sft_datasets),
        benchmarks=CONFIG.grid.benchmarks,
        code=code("write_overall_tables.py"),
    shell:
        "python $SCRIPTS/write_overall_tables.py --selection {input.selection} --metrics {input.metrics:q}"
        " --significance {input.significance:q} --benchmarks {params.benchmarks:q}"
        " --table1-sft-datasets {params.table1:q} {params.flags:q} --output-dir results/tables > {log} 2>&1"


for benchmark in CONFIG.grid.benchmarks:

    rule:
        name:
            f"language_tables_{benchmark}"
        input:
            selection="results/selection.parquet",
            metrics=lambda w, benchmark=benchmark: grid_metrics(benchmark),
            significance=f"results/significance/{benchmark}.parquet",
        output:
            [table(path, "language_table", benchmark, Path(path).stem) for path in language_tables(benchmark)],
        log:
            f"results/logs/language_tables/{benchmark}.log",
        benchmark:
            f"results/benchmarks/language_tables/{benchmark}.tsv"
        conda:
            "../../envs/calgrid.yaml"
        params:
            benchmark=benchmark,
            flags=table_flags(CONFIG.grid.smoothing),
            languages=grid.languages(CONFIG, benchmark),
            code=code("write_language_tables.py"),
        shell:
            "python $SCRIPTS/write_language_tables.py --selection {input.selection} --metrics {input.metrics:q}"
            " --significance {input.significance:q} --benchmark {params.benchmark:q}"
            " --languages {params.languages:q} {params.flags:q} --output-dir results/tables > {log:q} 2>&1"


rule tables_page:
    input:
        selection="results/selection.parquet",
        overall=[path for path in overall_tables() if path.endswith(".csv")],
        by_language=[
            path
            for benchmark in CONFIG.grid.benchmarks
            for path in language_tables(benchmark)
            if path.endswith(".csv")
        ],
    output:
        table("results/tables/index.html", "tables_page", "All tables"),
    log:
        "results/logs/tables_page.log",
    benchmark:
        "results/benchmarks/tables_page.tsv"
    conda:
        "../../envs/calgrid.yaml"
    params:
        looks=table_looks(),
        code=code("write_tables_page.py"),
    shell:
        "python $SCRIPTS/write_tables_page.py --selection {input.selection} --overall {input.overall:q}"
        " --by-language {input.by_language:q} {params.looks:q} --output {output} > {log} 2>&1"
