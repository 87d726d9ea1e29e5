#!/bin/sh
# Take out of /opt/venv what no program of an image reads, and compile what is left: each Dockerfile runs this in the stage that
# installs. Whole packages that a service never imports are not installed at all: services/NAME/excluded.txt.
# tests/stack/test_images.py imports what is left, and benchmarks/images.md shows where the megabytes are.
set -eu
cd /opt/venv/lib/python3*/site-packages

# Packages' own tests, and what others are compiled or type-checked against.
find . -type d -name tests -prune -exec rm -r {} +
find . -type f -regex '.*\.\(pyx\|pxd\|pxi\|c\|cpp\|h\|hpp\|a\|pyi\)' -delete
rm -rf joblib/test onnx/backend/test securesystemslib/_vendor/ed25519/test_data sqlalchemy/testing xgboost/testing

# What is for frameworks that are not here.
rm -rf xgboost/spark xgboost/dask onnxmltools/convert/coreml onnxmltools/convert/h2o onnxmltools/convert/sparkml

# What makes ONNX models of others', and a second copy of the runtime, for programs in C.
rm -rf onnxruntime/transformers onnxruntime/tools onnxruntime/quantization onnxruntime/datasets onnxruntime/capi/libonnxruntime.so.*

# Arrow's network protocol, and each library under the two names that only a linker looks for.
rm -rf pyarrow/include pyarrow/src pyarrow/_pyarrow_cpp_tests.* pyarrow/_flight.* pyarrow/libarrow_flight.* pyarrow/libarrow_python_flight.*
for library in pyarrow/*.so.*.*.*; do
    [ ! -e "$library" ] || rm "$library" "${library%%.so.*}.so"
done

# Descriptions of the services of AWS: there is a way to the artifact store (s3), and to what signs in there.
if [ -d botocore/data ]; then
    find botocore/data -mindepth 1 -maxdepth 1 -type d ! -name s3 ! -name sts ! -name 'sso*' ! -name signin -exec rm -r {} +
fi

# Names for a debugger. What auditwheel has rewritten (it names the libraries in *.libs) may not survive a second rewriting.
find . -name '*.so*' -type f ! -path './*.libs/*' | while read -r library; do
    readelf -d "$library" | grep -q '\.libs' || strip --strip-unneeded "$library"
done

# Once and here: no container can keep what it compiles at its start. By content and not by date, and always the same packages in one
# process, as what it has compiled before shows in its output: so that it is the same in each build.
printf '%s\n' "$PWD"/* | xargs -P "$(nproc)" -n 8 python3 -m compileall -q --invalidation-mode unchecked-hash
