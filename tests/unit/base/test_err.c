/* Each error has its own name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <trefoil/err.h>

static void test_err_names(void **state)
{
    (void)state;
    assert_string_equal(tf_err_name(TF_OK), "TF_OK");
    for (int i = 0; i < 12; i++) {
        assert_memory_equal(tf_err_name((enum tf_err) - i), "TF_", 3);
        for (int j = 0; j < i; j++)
            assert_string_not_equal(tf_err_name((enum tf_err) - i), tf_err_name((enum tf_err) - j));
    }
    assert_string_equal(tf_err_name((enum tf_err) - 12), "TF_UNKNOWN");
    assert_string_equal(tf_err_name((enum tf_err)1), "TF_UNKNOWN");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_err_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
